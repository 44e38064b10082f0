"""Requests that an evaluation set holds too: trained on, they would turn the evaluation into a memory test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cada_trl.data.benchmarks import NAMES, QUESTION_SETS
from cada_trl.data.near_duplicates import near_duplicates
from cada_trl.data.normalise import normalise


@dataclass(frozen=True)
class Overlap:
    """How a request overlaps with which benchmark (the first found, in the order exact, n_gram, near_duplicate)."""

    benchmark: str
    kind: Literal["exact", "n_gram", "near_duplicate"]


def find_overlaps(
    keys: Sequence[str], benchmarks: Mapping[str, Collection[str]], n_gram: int, min_jaccard: float
) -> dict[str, Overlap]:
    """Comparison form of a request -> its overlap, for the requests that have one.

    exact: the same comparison form; n_gram: `n_gram` words in a row are shared (GPT-3, appendix C: 13);
    near_duplicate: Jaccard >= min_jaccard (ours: most requests are shorter than 13 words), not against exam questions.
    """
    found: dict[str, Overlap] = {}
    wanted, of_gram = set(keys), defaultdict(list)
    for key in keys:
        for gram in _grams(key, n_gram):
            of_gram[gram].append(key)
    references: dict[str, str] = {}
    for benchmark, texts in benchmarks.items():
        for reference in map(normalise, texts):
            references.setdefault(reference, benchmark)
            if reference in wanted:
                found[reference] = _earlier(found.get(reference), Overlap(benchmark, "exact"))
            for gram in _grams(reference, n_gram):
                for key in of_gram.get(gram, ()):
                    found.setdefault(key, Overlap(benchmark, "n_gram"))
    rest = [key for key in keys if key not in found]
    requests = {reference: name for reference, name in references.items() if name not in QUESTION_SETS}
    return found | _near(rest, requests, min_jaccard)


def report(overlaps: Mapping[str, Overlap], benchmarks: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Per benchmark: its texts and the requests dropped by kind; and the known sets that were not found."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for overlap in overlaps.values():
        counts[overlap.benchmark][overlap.kind] += 1
    found = {name: {"n_texts": len(texts), "dropped": dict(counts[name])} for name, texts in benchmarks.items()}
    return {
        "checked": bool(benchmarks),
        "found": found,
        "not_found": [name for name in NAMES if name not in benchmarks],
    }


def _near(keys: list[str], references: dict[str, str], min_jaccard: float) -> dict[str, Overlap]:
    if not references:
        return {}
    # A text longer than this cannot reach the similarity: long attack prompts are skipped unread.
    longest = max((len(key) for key in keys), default=0) / max(min_jaccard, 0.01) + 4
    fixed = [reference for reference in references if len(reference) <= longest]
    twins = near_duplicates(fixed + keys, min_jaccard, n_fixed=len(fixed))
    return {
        keys[i - len(fixed)]: Overlap(references[fixed[j]], "near_duplicate")
        for i, j in twins.items()
        if j < len(fixed)
    }


def _earlier(first: Overlap | None, exact: Overlap) -> Overlap:
    return first if first is not None and first.kind == "exact" else exact


def _grams(key: str, n: int) -> Iterator[str]:
    words = key.split()
    return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
