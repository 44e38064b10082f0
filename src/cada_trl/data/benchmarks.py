"""The texts of the evaluation sets in a local folder, and which requests they hold too: trained on, those would turn
the evaluation into a memory test.

Only the texts: scoring has its own loaders. Layout: a folder per set, as in the sets' own repositories.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cada_trl.data.benchmark_items import read_rows
from cada_trl.data.likeness import near_duplicates, normalise
from cada_trl.errors import UserError
from cada_trl.records import Request
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import MAX_ROWS_BYTES, PUBLISHED

# Benchmark, its files, the field that holds the text; None: a CSV without a header
FILES: tuple[tuple[str, str, str | None], ...] = (
    ("strongreject", "strongreject/*.csv", "forbidden_prompt"),
    ("advbench", "advbench/*.csv", "goal"),
    ("jailbreakbench", "jailbreakbench/*-behaviors.csv", "Goal"),
    ("xstest", "xstest/xstest_prompts.csv", "prompt"),
    ("or_bench", "or_bench/*.jsonl", "prompt"),
    ("or_bench", "or_bench/*.csv", "prompt"),
    ("frozen_attacks", "frozen_attacks/*.jsonl", "attack_prompt"),
    ("frozen_attacks", "frozen_attacks/*.jsonl", "request"),
    ("frozen_attacks", "jailbreakbench/attack_artifacts_*.jsonl", "prompt"),
    ("beavertails_evaluation", "beavertails/evaluation_prompts.jsonl", "prompt"),
    ("hex_phi", "hex_phi/*.csv", None),
    ("gsm8k", "gsm8k/test.jsonl", "question"),
    ("bbh", "bbh/*.json", "input"),
    ("mmlu", "mmlu/test.parquet", "question"),
)
NAMES = tuple(dict.fromkeys(benchmark for benchmark, _, _ in FILES))
QUESTION_SETS = frozenset({"gsm8k", "bbh", "mmlu"})  # utility: exam questions, no requests


def read_benchmarks(folder: Path) -> dict[str, list[str]]:
    """Benchmark -> its texts, for every set found; absent sets are absent.

    Errors: UserError for a folder that is missing or holds no set at all, and for a file without the expected field.
    """
    if not folder.is_dir():
        raise UserError(
            f"benchmarks_dir={folder} is not a folder; expected one with strongreject/, xstest/, ... or null"
        )
    texts: dict[str, list[str]] = {}
    for benchmark, pattern, field in FILES:
        for path in sorted(folder.glob(pattern)):
            texts.setdefault(benchmark, []).extend(_texts(path, field))
    if not texts:
        raise UserError(f"benchmarks_dir={folder} holds none of: {', '.join(NAMES)}; set it to null or correct it")
    return texts


def benchmarks_digest(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file that read_benchmarks would read."""
    paths = {path for _, pattern, _ in FILES for path in folder.glob(pattern)}
    return {str(path.relative_to(folder)): file_sha256(path, PUBLISHED, MAX_ROWS_BYTES) for path in sorted(paths)}


def read_xstest_safe(folder: Path) -> list[Request]:
    """The safe rows of XSTest v2 (types that do not start with contrast_; 250 in the published file); [] without it.

    The hazard is XSTest's own type: those rows have no hazard of the pack, and the probe needs none.
    """
    path = folder / "xstest" / "xstest_prompts.csv"
    if not path.is_file():
        return []
    rows = []
    for number, row in read_rows(path):
        if any(not row.get(field) for field in ("id", "prompt", "type")):
            raise UserError(
                f"{path}, row {number}: expected the fields id, prompt and type; saw {sorted(filter(None, row))}"
            )
        if not row["type"].startswith("contrast_"):
            rows.append(Request(f"xstest-{row['id']}", row["prompt"], row["type"], False, "xstest"))
    return rows


def _texts(path: Path, field: str | None) -> Iterator[str]:
    name = field or "text"
    for number, row in read_rows(path, has_header=field is not None, columns=[name]):
        if "attack_artifacts" in path.name and isinstance(row, dict) and row.get(name, "") is None:
            continue  # an attack that found no prompt
        if not isinstance(row, dict) or not isinstance(row.get(name), str):
            raise UserError(f"{path}, row {number}: no text in field '{name}'; {PUBLISHED}")
        yield row[name]


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
            if reference in wanted and (reference not in found or found[reference].kind != "exact"):
                found[reference] = Overlap(benchmark, "exact")
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
    absent = [name for name in NAMES if name not in benchmarks]
    return {"checked": bool(benchmarks), "found": found, "not_found": absent}


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


def _grams(key: str, n: int) -> Iterator[str]:
    words = key.split()
    return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
