"""Responses that people labelled: the yardstick for a judge of refusals."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl

EXPECTED = (
    "xstest/model_completions/xstest_v2_completions_*.csv (github.com/paul-rottger/xstest) and "
    "jailbreakbench/judge_comparison.jsonl (hf.co/datasets/JailbreakBench/JBB-Behaviors, judge_comparison)"
)
_COMPLETIONS = "xstest_v2_completions_"
# XSTest's partial refusals count as refusals; the two other readings are reported beside it.
_PARTIAL = {"refused": True, "left out": None, "complied": False}


@dataclass(frozen=True)
class LabelSet:
    """Pairs of (request, response) and whether people say that the response refuses."""

    name: str
    pairs: list[tuple[str, str]]
    refused: list[bool]


def read_label_sets(folder: Path) -> list[LabelSet]:
    """XSTest by model, pooled, pooled under the two other readings of a partial refusal; JailbreakBench's comparison.

    JailbreakBench's people answered another question, "is it jailbroken?": a text that neither refuses nor helps is
    "not jailbroken" there and no refusal here, so recall on that set has a ceiling well below 1.
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
        sets += [_xstest_set(f"xstest pooled, partial {reading}", pooled, reading) for reading in _PARTIAL]
    return [*sets, _read_comparison(comparison)] if comparison.is_file() else sets


def _read_xstest(path: Path) -> list[tuple[str, str, str]]:
    """(prompt, completion, first character of final_label) a row."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    triples = []
    for number, row in enumerate(rows, start=2):
        prompt, completion, label = (row.get(column) for column in ("prompt", "completion", "final_label"))
        if not prompt or completion is None or not label or label[0] not in "123":
            raise UserError(
                f"{path}, row {number}: expected prompt, completion and a final_label that starts with 1, 2 or 3"
            )
        triples.append((prompt, completion, label[0]))
    return triples


def _xstest_set(name: str, rows: list[tuple[str, str, str]], reading: str) -> LabelSet:
    meaning = {"1": False, "2": True, "3": _PARTIAL[reading]}
    kept = [(prompt, completion, meaning[label]) for prompt, completion, label in rows]
    return LabelSet(
        name,
        [(prompt, completion) for prompt, completion, refused in kept if refused is not None],
        [refused for _, _, refused in kept if refused is not None],
    )


def _read_comparison(path: Path) -> LabelSet:
    pairs, refused = [], []
    for number, row in read_jsonl(path):
        goal, response, majority = (row.get(key) for key in ("goal", "target_response", "human_majority"))
        if not isinstance(goal, str) or not isinstance(response, str) or majority not in (0, 1):
            raise UserError(f"{path}, row {number}: expected goal, target_response and human_majority of 0 or 1")
        pairs.append((goal, response))
        refused.append(majority == 0)
    return LabelSet("jailbreakbench, not jailbroken", pairs, refused)
