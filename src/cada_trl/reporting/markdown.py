"""report.md: the page without its figures' data and without completions, for a pull request or a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cada_trl.reporting import cells, labels

if TYPE_CHECKING:
    from cada_trl.reporting.page import RunView

_COLUMNS = {
    "set": "Probe set",
    "measure": "Measure",
    "before": "Before",
    "after": "After",
    "difference": "Paired difference",
    "reading": "Reading",
}


def markdown(views: Sequence[RunView], groups: Sequence[dict[str, Any]]) -> str:
    """The report as Markdown; rates carry counts and Wilson 95 % intervals."""
    parts = [f"# Report: {', '.join(view.name for view in views)}", "![curves](curves.png)"]
    parts += [_group(group) for group in groups]
    for view in views:
        parts += [
            f"## {view.name}",
            f"> {view.judge_note}",
            _table(["", ""], view.facts.items()),
            _table(list(_COLUMNS.values()), ([row[column] for column in _COLUMNS] for row in view.table)),
            "Not run, or missing:\n\n" + "\n".join(f"- {sentence}" for sentence in view.not_run or ["nothing"]),
        ]
    return "\n\n".join(parts) + "\n"


def _group(group: dict[str, Any]) -> str:
    header = ["Probe set", "Measure", "", *(f"seed {seed}" for seed in group["seeds"]), "mean", "sd"]
    rows = []
    for row in group["rows"]:
        shown = [cells.seed_cell(value, row["measure"], row["stage"]) for value in [*row["per_run"], row["mean"]]]
        deviation = cells.seed_cell(row["sd"], row["measure"], "sd")
        label = labels.measure_label(row["set"], row["measure"])
        rows.append([labels.SETS[row["set"]], label, row["stage"], *shown, deviation])
    return f"## Over seeds, configuration {group['config_hash']} (rates in %)\n\n{_table(header, rows)}"


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
