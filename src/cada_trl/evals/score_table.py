"""Scores as a table for the terminal: what was not measured reads n/a, never 0."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cada_trl.evals.scores import Cell, Measure, Scores

ABSENT = "n/a"


def score_table(name: str, scores: Scores) -> Table:
    """A row a cell: ASR or NRR with its 95 % interval, n (scored of asked), and the rates beside it, all in percent.

    lacks: items for which the attack had no prompt. A column that would say nothing anywhere is left out.
    """
    rows = [_row(cell) for cell in scores.cells]
    columns = [column for column in rows[0] if {row[column] for row in rows} - {ABSENT, ""}] if rows else []
    title = f"{name}, judged by {scores.judge_id}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    for column in columns:
        table.add_column(column, no_wrap=column not in {"benchmark", "attack"}, overflow="fold")
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    return table


def withheld_lines(scores: Scores) -> list[str]:
    """A sentence for each cell whose metric is not given."""
    return [
        f"{cell.benchmark} x {cell.attack}: {cell.metric.upper()} withheld: {cell.headline.withheld}"
        for cell in scores.cells
        if cell.headline.withheld
    ]


def not_run_lines(sentences: Sequence[str]) -> list[str]:
    """`benchmark x attack: reason` sentences, those of one reason in one line."""
    by_reason: dict[str, list[str]] = {}
    for sentence in sentences:
        what, _, reason = sentence.partition(": ")
        by_reason.setdefault(reason, []).append(what)
    return [f"not run: {', '.join(what)}: {reason}" for reason, what in by_reason.items()]


def _row(cell: Cell) -> dict[str, str]:
    total, headline = cell.total, cell.headline
    return {
        "benchmark": cell.benchmark,
        "attack": cell.attack,
        "% [95 %]": f"{cell.metric.upper()} {_percent(headline, digits=1)}{_interval(headline)}",
        "n": f"{headline.n}/{headline.asked}",
        "lacks": str(cell.missing or ""),
        "harmful": _percent(total.harmful, digits=1),
        "score": _percent(total.harmful_score, digits=1),
        "reason": _percent(total.reasoning),
        "trunc": _percent(total.truncated),
    }


def _percent(measure: Measure, digits: int = 0) -> str:
    return ABSENT if measure.value is None else f"{100 * measure.value:.{digits}f}"


def _interval(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f" [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"
