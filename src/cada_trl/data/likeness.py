"""When two texts are the same text (NFKC, casefold, no punctuation, nothing invisible, single spaces), and when they
are alike.

Alike: by the Jaccard similarity of character shingles, with an inverted index. Exact rather than MinHash: at the size
of BeaverTails prefix filtering (Bayardo et al., WWW 2007) needs a few seconds, and nothing is lost to hashing.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from cada_trl.prompting.arms import words
from cada_trl.storage.digest import sha256

_APOSTROPHES = re.compile(r"['’ʼ`]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")  # hyphens and joints inside words, as pages and PDFs have
SHINGLE_CHARS = 4
ROUNDING = 1e-9  # 0.55 * 100 is a little above 55


def normalise(text: str) -> str:
    """The text's comparison form; empty when it holds no letter and no digit (ours: the paper names no rule)."""
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    # An apostrophe joins ("don't" -> "dont"), so that the two spellings of a contraction meet.
    return " ".join(words(_APOSTROPHES.sub("", folded)))


def text_hash(text: str) -> str:
    """SHA-256 (hex) of the comparison form: the identity of a request, whatever its case or punctuation."""
    return sha256(normalise(text))


def shingles(key: str) -> frozenset[str]:
    """Character 4-grams of a text's comparison form (ours: prompts of ten words are too short for word n-grams)."""
    if len(key) <= SHINGLE_CHARS:
        return frozenset({key})
    return frozenset(key[i : i + SHINGLE_CHARS] for i in range(len(key) - SHINGLE_CHARS + 1))


def near_duplicates(
    keys: Sequence[str], min_jaccard: float, n_fixed: int = 0, pairs: Sequence[str | None] | None = None
) -> dict[int, int]:
    """Index of each text to drop -> index of the kept text that it resembles (Jaccard >= min_jaccard).

    Goes through `keys` in order and keeps a text when no kept one resembles it, so the result depends on the order.
    The first `n_fixed` texts are kept without a comparison: references that the others must not resemble.
    pairs: for each text the pair it belongs to; partners are alike on purpose and are not compared.
    """
    sets = [shingles(key) for key in keys]
    sizes = [len(shingled) for shingled in sets]
    frequency = Counter(shingle for shingled in sets for shingle in shingled)
    index: defaultdict[str, list[int]] = defaultdict(list)
    twins: dict[int, int] = {}
    for i, one in enumerate(sets):
        # Two sets with Jaccard >= t share one of their (1 - t) rarest shingles: only those are indexed and looked up.
        rarest = sorted(one, key=lambda shingle: (frequency[shingle], shingle))
        least, most = min_jaccard * len(one) - ROUNDING, len(one) / max(min_jaccard, ROUNDING) + ROUNDING
        prefix = rarest[: len(one) - math.ceil(least) + 1]
        if i >= n_fixed:  # sizes below least or above most cannot reach it
            candidates = sorted({j for shingle in prefix for j in index[shingle] if least <= sizes[j] <= most})
            if pairs is not None and pairs[i] is not None:
                candidates = [j for j in candidates if pairs[j] != pairs[i]]
            twin = next((j for j in candidates if jaccard(one, sets[j]) >= min_jaccard), None)
            if twin is not None:
                twins[i] = twin
                continue
        for shingle in prefix:
            index[shingle].append(i)
    return twins


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """|intersection| / |union|, in [0, 1]."""
    n_shared = len(one & other)
    return n_shared / (len(one) + len(other) - n_shared)
