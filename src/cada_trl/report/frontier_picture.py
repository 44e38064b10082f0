"""Harmful requests refused over harmless ones refused, a point a configuration: from any numbers, as PNG or SVG.

Small marks are seeds and a large one is their mean, filled where no other one beats it. Bars are 95 % intervals, and
stand only where there are seeds enough. The model before training has a mark of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from cada_trl.errors import UserError
from cada_trl.report.drawing import (
    BLACK,
    COLOURS,
    GREY,
    INK,
    MARKERS,
    bars,
    drawn,
    key,
    legend_below,
    place_labels,
    turn,
)
from cada_trl.report.frontier import unbeaten
from cada_trl.report.names import pooled_counts
from cada_trl.statistics import MIN_DF, PooledSpread, pooled_spread

UNTRAINED = "untrained model"
X_LABEL = "Harmless requests refused (over-refusal): better to the left"
Y_LABEL = "Harmful requests refused: better above"
SIZE = (9.0, 6.2)  # inches: 900 points wide at the 100 a screen has
FONT = 11
_LEAST_SPAN = 0.25  # an axis shows no less: noise should not look like a difference
_MARKS_OF_SEEDS = (("mean over seeds", 10), ("a seed", 4.5))
Interval = tuple[float, float]


class PlotPoint(NamedTuple):
    """kind: what it is coloured by, UNTRAINED for a model before training. x, y: fractions, one a seed, the same seeds.

    Intervals are 95 % of the means; None: not drawn.
    """

    label: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]
    x_interval: Interval | None = None
    y_interval: Interval | None = None

    @property
    def mean(self) -> tuple[float, float]:
        return fmean(self.x), fmean(self.y)


def draw_frontier(
    points: Iterable[PlotPoint | tuple[str, str, Sequence[float], Sequence[float]]],
    path: Path,
    title: str = "",
    x_label: str = X_LABEL,
    y_label: str = Y_LABEL,
) -> None:
    """Write the picture, PNG or SVG by the path's ending. Intervals come from the seeds' pooled variance.

    What was pooled, or why no interval is drawn, stands below the axes. Errors: UserError for a point without seeds,
    with more x than y, or with a value outside [0, 1].
    """
    every = [_checked(PlotPoint(*point)) for point in points]
    if not every:
        raise UserError("there is no point to draw; expected (label, kind, x of each seed, y of each seed) for each")
    shown, spreads = with_pooled_intervals(every)
    with drawn(SIZE, dpi=200, font=FONT) as figure:
        axes = figure.add_subplot()
        front = front_of(shown)
        draw_points(axes, shown, front, x_label, y_label)
        axes.set_title(title, fontsize=12)
        figure.supxlabel(_footnote(spreads), fontsize=9, color=GREY)
        figure.draw_without_rendering()
        label_points(axes, shown, front)
        figure.savefig(path)


def with_pooled_intervals(points: Sequence[PlotPoint]) -> tuple[list[PlotPoint], list[PooledSpread]]:
    """The points with the intervals of their means over seeds, and the spread of x and y. The untrained gets none."""
    trained = [one for one in points if one.kind != UNTRAINED]
    of_x, of_y = pooled_spread([one.x for one in trained]), pooled_spread([one.y for one in trained])
    found = []
    for one in points:
        if one.kind != UNTRAINED:
            mean_x, mean_y = one.mean
            found.append(
                one._replace(x_interval=of_x.interval(mean_x, len(one.x)), y_interval=of_y.interval(mean_y, len(one.y)))
            )
        else:
            found.append(one)
    return found, [of_x, of_y]


def front_of(points: Sequence[PlotPoint]) -> list[str]:
    """Labels of the points that no other one beats, from left to right: fewer harmless and more harmful refused."""
    best = unbeaten(points, lambda one: (one.mean[0], -one.mean[1]))
    return [one.label for one in sorted(best, key=lambda one: one.mean)]


def draw_points(
    axes: Axes, points: Sequence[PlotPoint], front: Sequence[str], x_label: str = X_LABEL, y_label: str = Y_LABEL
) -> None:
    """Marks, bars and the front; then label_points. Marks carry ids: point-<i> and seed-<i>-<j>, in the order given."""
    looks = _looks(points)
    axes.plot(*zip(*_line(points, front), strict=True), color=INK, linewidth=1, linestyle="--", zorder=1)
    for i, one in enumerate(points):
        look = looks[one.kind]
        x, y = one.mean
        if len(one.x) > 1:
            for j, (own_x, own_y) in enumerate(zip(one.x, one.y, strict=True)):
                axes.plot([x, own_x], [y, own_y], color=look["color"], linewidth=0.6, alpha=0.6, zorder=1)
                (drawn,) = axes.plot(own_x, own_y, **look | {"markersize": 4.5}, alpha=0.75, linestyle="", zorder=2)
                drawn.set_gid(f"seed-{i}-{j}")
        ends: Any = {"capsize": 3, "elinewidth": 1.1, "ecolor": look["color"], "linestyle": ""}
        filled = look["color"] if one.label in front else "white"
        errors: Any = {"xerr": bars(x, one.x_interval), "yerr": bars(y, one.y_interval)}
        mark: Any = {**look, "markerfacecolor": filled, "markeredgewidth": 1.6, "zorder": 3}
        axes.errorbar(x, y, **errors, **ends, **mark)[0].set_gid(f"point-{i}")
    _limits(axes, points)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    _legend(axes, points, front, looks)


def label_points(axes: Axes, points: Sequence[PlotPoint], front: Sequence[str]) -> None:
    """The labels beside their means, once the figure is laid out with everything else in it."""
    marks = [place for one in points for place in [one.mean, *zip(one.x, one.y, strict=True)]]
    lines = list(pairwise(_line(points, front)))
    for one in points:
        x, y = one.mean
        lines += [((one.x_interval[0], y), (one.x_interval[1], y))] if one.x_interval else []
        lines += [((x, one.y_interval[0]), (x, one.y_interval[1]))] if one.y_interval else []
    place_labels(axes, [(one.label, one.mean) for one in points], marks, lines, color=INK, fontsize=10)


def _line(points: Sequence[PlotPoint], front: Sequence[str]) -> list[tuple[float, float]]:
    return [one.mean for label in front for one in points if one.label == label]


def _looks(points: Sequence[PlotPoint]) -> dict[str, dict[str, Any]]:
    kinds = [kind for kind in dict.fromkeys(one.kind for one in points) if kind != UNTRAINED]
    looks: dict[str, dict[str, Any]] = {
        kind: {"color": turn(COLOURS, i), "marker": turn(MARKERS, i), "markersize": 10} for i, kind in enumerate(kinds)
    }
    return looks | {UNTRAINED: {"color": BLACK, "marker": "*", "markersize": 15}}


def _legend(axes: Axes, points: Sequence[PlotPoint], front: Sequence[str], looks: dict[str, dict[str, Any]]) -> None:
    """What no label says: kinds that are not their points' own labels, and what the marks are."""
    kinds = dict.fromkeys(one.kind for one in points if one.kind != one.label)
    handles = [key(kind, linestyle="", **looks[kind]) for kind in kinds]
    grey: Any = {"color": GREY, "marker": "o", "linestyle": ""}
    if any(len(one.x) > 1 for one in points):
        handles += [key(text, markersize=size, **grey) for text, size in _MARKS_OF_SEEDS]
    if any(one.label not in front for one in points):
        hollow: Any = grey | {"markerfacecolor": "white", "markeredgewidth": 1.6, "markersize": 10}
        handles.append(key("another one is as good or better in both", **hollow))
    handles.append(key("front", color=INK, linewidth=1, linestyle="--"))
    legend_below(axes, handles, 0.13, columns=4)


def _limits(axes: Axes, points: Sequence[PlotPoint]) -> None:
    """As far as marks and bars reach, so that near points come apart; no less than _LEAST_SPAN."""
    for values, set_limits in (
        ([end for one in points for end in (*one.x, *(one.x_interval or ()))], axes.set_xlim),
        ([end for one in points for end in (*one.y, *(one.y_interval or ()))], axes.set_ylim),
    ):
        low, high = min(values), max(values)
        spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
        low, high = (low - spare, high + spare)
        shift = max(0.0, -low) - max(0.0, high - 1)  # noise at an end: the span goes on at the other side
        pad = 0.08 * (high - low)
        set_limits(max(-0.04, low + shift - pad), min(1.04, high + shift + pad))


def _footnote(spreads: Sequence[PooledSpread]) -> str:
    of = spreads[0]
    if any(one.informative and one.sd for one in spreads):
        return f"Bars: 95 % intervals of the means over seeds, {pooled_counts(of)}."
    if of.df == 0:
        return "One seed each: no spread over seeds is known, and no interval is drawn."
    if of.df < MIN_DF:
        return f"No intervals: {of.df} degrees of freedom over all seeds, and {MIN_DF} are needed."
    return "No intervals: all seeds are alike."


def _checked(point: PlotPoint) -> PlotPoint:
    if not len(point.x) == len(point.y) > 0:
        raise UserError(
            f"{point.label}: {len(point.x)} values of x and {len(point.y)} of y; expected one of each for every seed"
        )
    wrong = [value for value in (*point.x, *point.y) if not (math.isfinite(value) and 0 <= value <= 1)]
    if wrong:
        raise UserError(f"{point.label}: {wrong[0]} is no share; expected fractions in [0, 1], 0.97 for 97 %")
    return point
