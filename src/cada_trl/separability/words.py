"""A bag of words: which words a text holds, whatever their order. What it separates, single words separate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cada_trl.data.normalise import normalise

MIN_TEXTS = 2


class BagOfWords:
    """The words that at least MIN_TEXTS of the given texts hold."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in _words(text))
        known = sorted(word for word, n in counts.items() if n >= MIN_TEXTS)
        self.column = {word: column for column, word in enumerate(known)}

    def features(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """1 where the text holds the word, else 0: [text, word]."""
        holds_nf = np.zeros((len(texts), len(self.column)))
        for row, text in enumerate(texts):
            holds_nf[row, [self.column[word] for word in _words(text) if word in self.column]] = 1.0
        return holds_nf


def _words(text: str) -> set[str]:
    return set(normalise(text).split())
