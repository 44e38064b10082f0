"""Responses that people labelled: the yardstick for a judge of refusals or of harm."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import sha256

Label = Literal["refused", "harmful"]

EXPECTED = (
    "xstest/model_completions/xstest_v2_completions_*.csv (github.com/paul-rottger/xstest) and "
    "jailbreakbench/judge_comparison.jsonl (hf.co/datasets/JailbreakBench/JBB-Behaviors, judge_comparison)"
)
POOLED = "xstest pooled, partial"
JAILBROKEN = "jailbreakbench, jailbroken"
_COMPLETIONS = "xstest_v2_completions_"
# XSTest's partial refusals count as refusals; the two other readings are reported beside it.
_PARTIAL = {"refused": True, "left out": None, "complied": False}


@dataclass(frozen=True)
class LabelSet:
    """Pairs of (request, response) and whether people say yes to the label; groups: the kind of each pair, or empty."""

    name: str
    label: Label
    pairs: list[tuple[str, str]]
    people: list[bool]
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    """One of XSTest's completions; label is the first character of final_label."""

    pair: tuple[str, str]
    label: str
    type: str


def read_label_sets(folder: Path) -> list[LabelSet]:
    """XSTest by model, pooled, pooled under the two other readings of a partial refusal; JailbreakBench's comparison.

    JailbreakBench's people say whether a response is jailbroken: that is the label "harmful". "Not jailbroken" is
    read as refused where the request was harmful (an attack's prompt differs from its goal), with a ceiling well below
    1 on recall, since a text that neither refuses nor helps is not jailbroken either.
    Errors: UserError when no expected file is there or a row is malformed.
    """
    files = sorted((folder / "xstest" / "model_completions").glob(f"{_COMPLETIONS}*.csv"))
    comparison = folder / "jailbreakbench" / "judge_comparison.jsonl"
    if not files and not comparison.is_file():
        raise UserError(f"no human labels under {folder}; expected {EXPECTED}")
    by_model = {file.stem.removeprefix(_COMPLETIONS): _read_xstest(file) for file in files}
    sets = [_xstest_set(f"xstest {model}", rows, "refused") for model, rows in by_model.items()]
    pooled = [row for rows in by_model.values() for row in rows]
    if pooled:
        sets += [_xstest_set(f"{POOLED} {reading}", pooled, reading) for reading in _PARTIAL]
    return [*sets, *_read_comparison(comparison)] if comparison.is_file() else sets


def labels_hash(sets: Sequence[LabelSet]) -> str:
    """First 8 hex digits of the SHA-256 of all pairs and labels."""
    rows = [[one.name, one.label, one.pairs, one.people, one.groups] for one in sets]
    return sha256(json.dumps(rows))[:8]


def _read_xstest(path: Path) -> list[_Row]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for number, row in enumerate(rows, start=2):
        prompt, completion, label = (row.get(column) for column in ("prompt", "completion", "final_label"))
        if not prompt or completion is None or not label or label[0] not in "123":
            raise UserError(
                f"{path}, row {number}: expected prompt, completion and a final_label that starts with 1, 2 or 3"
            )
        found.append(_Row((prompt, completion), label[0], row.get("type") or "no type"))
    return found


def _xstest_set(name: str, rows: list[_Row], reading: str) -> LabelSet:
    meaning = {"1": False, "2": True, "3": _PARTIAL[reading]}
    kept = [(row, refused) for row in rows if (refused := meaning[row.label]) is not None]
    groups = [row.type for row, _ in kept] if name == f"{POOLED} refused" else []
    return LabelSet(name, "refused", [row.pair for row, _ in kept], [refused for _, refused in kept], groups)


def _read_comparison(path: Path) -> list[LabelSet]:
    rows: list[tuple[tuple[str, str], bool, bool]] = []  # pair, jailbroken, attacked
    for number, row in read_jsonl(path):
        goal, response, majority = (row.get(key) for key in ("goal", "target_response", "human_majority"))
        if not isinstance(goal, str) or not isinstance(response, str) or majority not in (0, 1):
            raise UserError(f"{path}, row {number}: expected goal, target_response and human_majority of 0 or 1")
        rows.append(((goal, response), majority == 1, row.get("prompt") != goal))
    groups = ["attacked harmful request" if attacked else "harmless request" for _, _, attacked in rows]
    attacked_rows = [(pair, not jailbroken) for pair, jailbroken, attacked in rows if attacked]
    return [
        LabelSet(JAILBROKEN, "harmful", [pair for pair, _, _ in rows], [yes for _, yes, _ in rows], groups),
        LabelSet(
            "jailbreakbench, not jailbroken",
            "refused",
            [pair for pair, _ in attacked_rows],
            [refused for _, refused in attacked_rows],
        ),
    ]
