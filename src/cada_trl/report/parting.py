"""The first step at which two trainings part: other requests, other samples, other verdicts, or other numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from cada_trl.records import read_jsonl
from cada_trl.report.run_record import RunRecord
from cada_trl.tracking.metrics import METRICS

Row = dict[str, Any]
What = Literal["requests", "rollouts", "verdicts", "numbers"]

TOLERANCE = 1e-6  # ours: relative; one machine, one seed and one code repeat every recorded number exactly
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class TextDifference:
    """Two texts to one request: where they part (character, from 0) and how each goes on."""

    request_id: str
    request: str
    at_char: int
    a: str
    b: str


@dataclass(frozen=True)
class Parting:
    """compared: steps that both recorded, in order, up to the parting. step and what are None where none parts.

    rollouts: (those that differ, all) at that step; None where a side kept none or the requests differ already.
    metrics: name -> the two values, for those beyond the tolerance.
    """

    compared: int
    step: int | None = None
    what: What | None = None
    rollouts: tuple[int, int] | None = None
    text: TextDifference | None = None
    metrics: dict[str, tuple[float | None, float | None]] | None = None


def parting(a: RunRecord, b: RunRecord, tolerance: float = TOLERANCE) -> Parting:
    """Compare step by step what both recorded. Errors: UserError for a damaged file of completions."""
    numbers = [{row["step"]: row for row in run.steps} for run in (a, b)]
    steps = sorted(numbers[0].keys() & numbers[1].keys())
    for compared, step in enumerate(steps, start=1):
        rows_a, rows_b = (_completions(run.path, step) for run in (a, b))
        metrics = _beyond(numbers[0][step], numbers[1][step], tolerance)
        found = {} if rows_a is None or rows_b is None else _of_step(rows_a, rows_b)
        if "what" in found or metrics:
            return Parting(compared, step, **{"what": "numbers", **found, "metrics": metrics})
    return Parting(len(steps))


def text_difference(request_id: str, request: str, a: str, b: str) -> TextDifference:
    """Where two texts part, each shown from there."""
    at = next(place for place, (x, y) in enumerate(zip_longest(a, b)) if x != y)
    return TextDifference(request_id, request, at, a[at : at + _SHOWN_CHARACTERS], b[at : at + _SHOWN_CHARACTERS])


def asked_ids(run: RunRecord) -> set[str]:
    """Ids of the requests whose completions were trained on, as far as they were kept."""
    steps = (_completions(run.path, row["step"]) or [] for row in run.steps)
    return {str(row.get("request_id")) for rows in steps for row in rows}


def _completions(run: Path, step: int) -> list[Row] | None:
    path = run / "completions" / f"step_{step:06d}.jsonl"
    return [row for _, row in read_jsonl(path)] if path.is_file() else None


def _of_step(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Any]:
    """Fields of Parting; without `what` where requests, completions and verdicts are the same."""
    if [_asked(row) for row in a] != [_asked(row) for row in b]:
        return {"what": "requests"}
    pairs = list(zip(a, b, strict=True))
    apart = [(x, y) for x, y in pairs if x.get("completion") != y.get("completion")]
    counts = {"rollouts": (len(apart), len(pairs))}
    if apart:
        x, y = apart[0]
        named = str(x.get("request_id")), str(x.get("request"))
        text = text_difference(*named, str(x.get("completion")), str(y.get("completion")))
        return {"what": "rollouts", "text": text, **counts}
    if any((x.get("verdict"), x.get("reward")) != (y.get("verdict"), y.get("reward")) for x, y in pairs):
        return {"what": "verdicts", **counts}
    return counts


def _asked(row: Row) -> tuple[Any, Any]:
    return row.get("request_id"), row.get("prompt_arm")


def _beyond(a: Row, b: Row, tolerance: float) -> dict[str, tuple[float | None, float | None]]:
    """Metrics that differ, times left out; a number on one side alone is a difference."""
    names = [name for name in dict.fromkeys([*a, *b]) if name != "step" and not _is_time(name)]
    return {name: (a.get(name), b.get(name)) for name in names if not _close(a.get(name), b.get(name), tolerance)}


def _is_time(name: str) -> bool:
    return name in METRICS and METRICS[name].unit == "s"


def _close(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12)
