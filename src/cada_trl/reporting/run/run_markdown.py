"""The runs' part of report.md: without the figures' data and without completions, for a pull request or a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cada_trl.document.markdown import bullets, heading, quote, table
from cada_trl.reporting.run import cells, labels
from cada_trl.reporting.run.across_runs import seeds_note

if TYPE_CHECKING:
    from cada_trl.reporting.run.run_part import RunView

_COLUMNS = {
    "set": "Probe set",
    "measure": "Measure",
    "before": "Before",
    "after": "After",
    "difference": "Paired difference",
    "reading": "Reading",
}


def run_markdown(views: Sequence[RunView], groups: Sequence[dict[str, Any]]) -> str:
    """Rates carry counts and Wilson 95 % intervals."""
    parts = ["![curves](curves.png)"]
    parts += [_group(group) for group in groups]
    parts += [note] if (note := seeds_note(groups)) else []
    for view in views:
        parts += [
            heading(2, view.name),
            *(quote(f"Tripwire: {sentence}.") for sentence in view.tripped),
            quote(view.judge_note),
            table(["", ""], list(view.facts.items())),
            table(list(_COLUMNS.values()), ([row[column] for column in _COLUMNS] for row in view.table)),
            "Not run, or missing:\n\n" + bullets(view.not_run),
        ]
    return "\n\n".join(parts)


def _group(group: dict[str, Any]) -> str:
    header = ["Probe set", "Measure", "", *(f"seed {seed}" for seed in group["seeds"]), "mean", "sd", "95 %"]
    rows = []
    for row in group["rows"]:
        shown = [cells.seed_cell(value, row["measure"], row["stage"]) for value in [*row["per_run"], row["mean"]]]
        deviation = cells.seed_cell(row["sd"], row["measure"], "sd")
        label = labels.measure_label(row["set"], row["measure"])
        rows.append([labels.SETS[row["set"]], label, row["stage"], *shown, deviation, cells.over_seeds_cell(row)])
    return f"## Over seeds, configuration {group['config_hash']} (rates in %)\n\n{table(header, rows)}"
