"""The cases of a pack whose words are most like a request's, whatever hazard the request is filed under.

TF-IDF of character 4-grams, compared by the cosine (Salton and Buckley 1988): a fixed function of pack and request.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from cada_trl.errors import UserError
from cada_trl.hazards.pack import Case, Hazard, HazardPack

GRAM_CHARS = 4  # ours: of words, pairs of words and 3 to 6 characters, it found the twins' own hazards as often as any
_NOT_WORD = re.compile(r"[\W_]+")

Weights = dict[str, float]  # of a text's grams, of length 1 as a vector


def nearest_cases(pack: HazardPack, request: str, n_cases: int) -> list[tuple[Hazard, Case]]:
    """The nearest first; of equally near ones the first in the pack. A case is read with its analysis and its hazard's
    code; one of weight 0 is never shown, and other weights do not count. Errors: UserError for a pack with fewer."""
    cases = [(hazard, case) for hazard in pack.hazards.values() for case in hazard.cases if case.weight > 0]
    if n_cases > len(cases):
        raise UserError(f"n_cases={n_cases}, but the pack '{pack.name}' has {len(cases)} cases in all; lower n_cases")
    rarity, known = _index(tuple(f"{hazard.code} {case.request} {case.analysis}" for hazard, case in cases))
    asked = _weights(_grams(request), rarity)
    likeness = [sum(weight * of_case.get(gram, 0.0) for gram, weight in asked.items()) for of_case in known]
    return [cases[place] for place in sorted(range(len(cases)), key=lambda place: -likeness[place])[:n_cases]]


@lru_cache(maxsize=8)  # packs of one process
def _index(texts: tuple[str, ...]) -> tuple[Weights, list[Weights]]:
    """How rare each gram is among the texts, and the texts' weights."""
    grams = [_grams(text) for text in texts]
    n_texts = Counter(gram for text in grams for gram in set(text))
    rarity = {gram: math.log((1 + len(texts)) / (1 + n)) + 1 for gram, n in n_texts.items()}
    return rarity, [_weights(text, rarity) for text in grams]


def _weights(grams: Iterable[str], rarity: Weights) -> Weights:
    raw = {gram: (1 + math.log(n)) * rarity[gram] for gram, n in Counter(grams).items() if gram in rarity}
    length = math.hypot(*raw.values())
    return {gram: weight / length for gram, weight in raw.items()}


def _grams(text: str) -> list[str]:
    """Of each word with a blank around it; a shorter word is one gram."""
    words = (f" {word} " for word in _NOT_WORD.sub(" ", text.casefold()).split())
    return [word[i : i + GRAM_CHARS] for word in words for i in range(max(1, len(word) - GRAM_CHARS + 1))]
