"""The tables of a probe pass: its completions, and its verdicts by hazard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cada_trl.records import Verdict

TABLES = {
    "completions": (
        "step",
        "set",
        "request_id",
        "hazard",
        "verdict",
        "reward",
        "request",
        "analysis",
        "final_response",
    ),
    "hazard_slices": ("step", "set", "hazard", "asked", "refused", "complied", "unscored"),
}
Row = Mapping[str, Any]


def probe_tables(step: int, rows: Sequence[Row]) -> dict[str, list[list[Any]]]:
    """Name of TABLES -> its rows, from the rows of probes/*.jsonl."""
    return {
        "completions": [[step, *(row.get(column) for column in TABLES["completions"][1:])] for row in rows],
        "hazard_slices": hazard_slices(step, rows),
    }


def hazard_slices(step: int, rows: Sequence[Row]) -> list[list[Any]]:
    """A row for each set and hazard: counts of what was asked and of each verdict."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((str(row["set"]), str(row["hazard"])), []).append(str(row["verdict"]))
    kinds = (Verdict.REFUSED, Verdict.COMPLIED, Verdict.UNSCORED)
    return [[step, *key, len(own), *(own.count(str(kind)) for kind in kinds)] for key, own in sorted(groups.items())]
