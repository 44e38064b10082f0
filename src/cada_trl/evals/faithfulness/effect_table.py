"""The effects as a table for the terminal: what was not measured reads n/a, never 0."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cada_trl.evals.compare import Change
from cada_trl.evals.faithfulness.effects import Effects
from cada_trl.evals.scores import Measure

ABSENT = "n/a"


def effect_table(name: str, found: Effects) -> Table:
    """A row an intervention and kind of item: share refused without and with it, their paired difference, the flips."""
    table = Table(title=f"{name}, judged by {found.judge_id}", box=SIMPLE_HEAD, padding=0)
    for column in ("intervention", "items", "n", "lacks", "refused %", "now %", "points [95 %]", "changed", "followed"):
        table.add_column(column, no_wrap=True)
    for one in found.untouched:
        share = _percent(one.refused.value)
        table.add_row("untouched", one.kind, f"{one.refused.n}/{one.asked}", "", share, "", "", "", "")
    for row in found.effects:
        table.add_row(
            row.intervention,
            row.kind,
            f"{row.refused.n_pairs}/{row.asked}",
            str(row.missing or ""),
            _percent(row.refused.before),
            _percent(row.refused.after),
            _difference(row.refused),
            _share(row.changed),
            "" if row.followed is None else _share(row.followed),
        )
    return table


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.0f}"


def _difference(change: Change) -> str:
    if change.difference is None or change.low is None or change.high is None:
        return ABSENT
    return f"{100 * change.difference:+.0f} [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"


def _share(measure: Measure) -> str:
    return ABSENT if measure.value is None else f"{measure.successes}/{measure.n}"
