"""Scores as a table for the terminal: what was not measured reads n/a, never 0."""

from __future__ import annotations

from rich.table import Table

from cada_trl.evals.scores import Measure, Scores

ABSENT = "n/a"


def score_table(name: str, scores: Scores) -> Table:
    """A row a cell. ASR and NRR in percent with their 95 % interval; n: scored of asked; missing: without a prompt."""
    columns = ("benchmark", "attack", "metric", "% [95 %]", "n", "missing", "harm score", "reasoning %", "truncated %")
    table = Table(*columns, title=f"{name}, judged by {scores.judge_id}")
    for cell in scores.cells:
        total = cell.total
        table.add_row(
            cell.benchmark,
            cell.attack,
            cell.metric.upper(),
            _percent(cell.headline, with_interval=True),
            f"{cell.headline.n}/{cell.headline.asked}",
            str(cell.missing),
            _score(total.harmful_score),
            _percent(total.reasoning),
            _percent(total.truncated),
        )
    return table


def withheld_lines(scores: Scores) -> list[str]:
    """A sentence for each cell whose metric is not given."""
    return [
        f"{cell.benchmark} x {cell.attack}: {cell.metric.upper()} withheld: {cell.headline.withheld}"
        for cell in scores.cells
        if cell.headline.withheld
    ]


def _percent(measure: Measure, with_interval: bool = False) -> str:
    if measure.value is None or measure.low is None or measure.high is None:
        return ABSENT
    interval = f" [{100 * measure.low:.1f}, {100 * measure.high:.1f}]" if with_interval else ""
    return f"{100 * measure.value:.1f}{interval}"


def _score(measure: Measure) -> str:
    return ABSENT if measure.value is None else f"{measure.value:.3f}"
