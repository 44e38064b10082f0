"""A sweep's configurations over their seeds, as Markdown: means, with intervals from the variance that they share."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from cada_trl.document import markdown
from cada_trl.numbers import ABSENT
from cada_trl.report.names import pooled_note
from cada_trl.statistics import PooledSpread, pooled_spread

Row = dict[str, Any]


def over_seeds(record: Row, metrics: Sequence[str]) -> str:
    """A row a configuration; nothing where none has two seeds. record: of sweep.json; metrics: the columns' names."""
    groups: dict[str, list[Row]] = {}
    for row in record["cells"]:
        groups.setdefault(row["config_hash"], []).append(row)
    values = {name: [_known(group, name) for group in groups.values()] for name in metrics}
    pools = {name: pooled_spread(of_all) for name, of_all in values.items()}
    if not any(pool.df for pool in pools.values()):
        return ""
    axes = [axis for axis in record["axes"] if axis != "seed"]
    rows = [
        [
            *(group[0]["axes"].get(axis, "") for axis in axes),
            *(_shown(values[name][i], pools[name]) for name in metrics),
        ]
        for i, group in enumerate(groups.values())
    ]
    parts = [
        markdown.heading(2, "Over seeds"),
        f"{pooled_note(list(pools.items()))} The requests are taken as they are.",
        markdown.table([*axes, *metrics], rows),
    ]
    return "\n\n".join(parts)


def _known(group: Sequence[Row], name: str) -> list[float]:
    """The seeds' values; a cell that is not done, or whose value is withheld, has none."""
    found = [(row["metrics"].get(name) or {}).get("value") for row in group]
    return [value for value in found if value is not None]


def _shown(values: Sequence[float], pool: PooledSpread) -> str:
    """`41.0 % (3 seeds; 35.2 to 46.8)`, without an interval `41.0 % (2 seeds, 40.0 to 42.0)`."""
    if not values:
        return str(ABSENT)
    n, mean = len(values), fmean(values)
    count = f"{n} seed{'s' if n > 1 else ''}"
    interval = pool.interval(mean, n)
    if interval:
        told = f"{count}; {_percent(*interval)}{', borrowed' if n == 1 else ''}"
    else:
        told = f"{count}, {_percent(min(values), max(values))}" if n > 1 else count
    return f"{100 * mean:.1f} % ({told})"


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"
