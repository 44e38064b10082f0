"""A metric of a run by step, from train.jsonl and probes.jsonl."""

from __future__ import annotations

from typing import Any

from cada_trl.records import read_jsonl
from cada_trl.reporting.run.run_record import RunRecord

Series = list[tuple[int, float]]


def series_of(run: RunRecord) -> dict[str, Series]:
    """Metric -> (step, value) in the log's order; absent values are left out, and never 0."""
    found: dict[str, Series] = {}
    for row in [*run.steps, *_probes(run)]:
        for name, value in row.items():
            if "/" in name and value is not None:
                found.setdefault(name, []).append((row["step"], value))
    return found


def _probes(run: RunRecord) -> list[dict[str, Any]]:
    """Lines of probes.jsonl, none without it; a killed run's torn last one is left out. Errors: UserError."""
    path = run.path / "probes.jsonl"
    return [row for _, row in read_jsonl(path, torn=lambda _: None)] if path.is_file() else []
