"""A table for people and for programs: the terminal's, Markdown and JSON, all of the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from cada_trl.document.markdown import bullets, heading, table
from cada_trl.numbers import ABSENT
from cada_trl.report.names import attack_name, benchmark_name
from cada_trl.report.paper import paper_tables
from cada_trl.tables.cells import TableCell
from cada_trl.tables.layout import Measure
from cada_trl.tables.plan import TablePlan

MEASURES: dict[Measure, str] = {
    "asr": "ASR %",
    "nrr": "NRR %",
    "harmful_score": "harmful score %",
    "accuracy": "accuracy %",
}
HEADER = ("method", "asked", "measure", "paper", "ours", "95 %", "ours - paper [95 %]", "n")


def text_table(plan: TablePlan, cells: Sequence[TableCell]) -> Table:
    """For the terminal."""
    shown = Table(*HEADER, title=title(plan))
    for cell in cells:
        shown.add_row(*_columns(cell))
    return shown


def markdown(plan: TablePlan, cells: Sequence[TableCell]) -> str:
    """The same with its notes."""
    parts = [heading(1, title(plan)), table(HEADER, map(_columns, cells)), heading(2, "How to read it")]
    return "\n\n".join([*parts, bullets(notes(plan, cells))]) + "\n"


def as_json(plan: TablePlan, cells: Sequence[TableCell]) -> dict[str, Any]:
    """Fractions of ours, percent of the paper, points of the difference; null where there is none."""
    return {
        "format": 1,
        "table": plan.settings.table,
        "model": plan.settings.model,
        "title": plan.layout.title,
        "settings": plan.settings.model_dump(),
        "cells": [cell.to_json() for cell in cells],
        "notes": notes(plan, cells),
    }


def title(plan: TablePlan) -> str:
    """`Table 3, smollm2: attack success rates after training`."""
    return f"Table {plan.settings.table}, {plan.settings.model}: {plan.layout.title}"


def notes(plan: TablePlan, cells: Sequence[TableCell]) -> list[str]:
    """What stands beside what, and why a cell has no number; one sentence a reason."""
    lines = ["ours - paper leaves the paper's own spread out: it gives no interval"]
    if plan.model.paper != plan.settings.model:
        other = paper_tables().models[plan.model.paper].name
        lines.append(f"the paper has no {plan.settings.model}: {other} stands beside it, another model")
    lines += [f"the paper's {what}: {how}" for what, how in paper_tables().asked_differently.items()]
    if plan.settings.limit is not None:
        lines.append(f"limit={plan.settings.limit} items: a trial of the machinery, no result")
    reasons = {(cell.state, cell.column, cell.reason): None for cell in cells if cell.reason is not None}
    return [*lines, *(f"{state}, {benchmark_name(column)}: {reason}" for state, column, reason in reasons)]


def _columns(cell: TableCell) -> tuple[str, ...]:
    asked = benchmark_name(cell.column)
    if cell.measure in ("asr", "harmful_score"):
        asked += f", {attack_name(cell.attack)}"
    paper = ABSENT.value if cell.paper is None else f"{cell.paper.value:g}"
    if cell.paper is not None and cell.paper.sd is not None:
        paper += f" ± {cell.paper.sd:g}"
    return (cell.method, asked, MEASURES[cell.measure], paper, *_ours(cell))


def _ours(cell: TableCell) -> tuple[str, str, str, str]:
    ours = cell.ours
    if ours is None or ours.value is None or ours.low is None or ours.high is None:
        return cell.state, "", "", ""
    value = f"{100 * ours.value:.1f}" + ("" if ours.sd is None else f" ± {100 * ours.sd:.1f}")
    seeds = "" if ours.n_seeds == 1 else f" x {ours.n_seeds} seeds"
    change = cell.difference
    points = "" if change is None else f"{change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}]"
    return value, f"{100 * ours.low:.1f} to {100 * ours.high:.1f}", points, f"{ours.n} of {ours.asked}{seeds}"
