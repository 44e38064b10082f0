"""The frontier drawn once, as SVG whose points say what they are under the pointer, and as PNG.

Large marks are configurations (means over seeds) with 95 % bars, filled on the front; small
ones and thin lines are seeds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cada_trl.reporting.evaluation.tradeoff import COLOURS, MARKERS
from cada_trl.reporting.sweep.answers import measure_name
from cada_trl.reporting.sweep.cells import seed_words, share_cell, standing
from cada_trl.reporting.sweep.frontier import Frontier, Point, Share

GREY = "#6B6B6B"
_STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cada_trl",
}
_NO_METADATA: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def frontier_svg(one: Frontier, prefix: str) -> Markup:
    """The picture to stand inside a page; its ids begin with the prefix, so that several can stand there."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        titles = draw(figure.add_subplot(), one)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for gid, title in titles.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(title)}</title>', 1)
    # matplotlib counts ids from 1 in every picture
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg))


def frontier_png(frontiers: Sequence[Frontier]) -> bytes:
    """All pictures in one PNG, two a row."""
    n_columns = min(2, len(frontiers))
    n_rows = (len(frontiers) + 1) // 2
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4 * n_columns, 5.6 * n_rows), dpi=150, layout="constrained")
        for place, one in enumerate(frontiers, start=1):
            draw(figure.add_subplot(n_rows, n_columns, place), one)
        buffer = io.BytesIO()
        figure.savefig(buffer)
        return buffer.getvalue()


def draw(axes: Axes, one: Frontier) -> dict[str, str]:
    """Draw into the axes; returns the id of each mark's group -> what it says under the pointer."""
    titles: dict[str, str] = {}
    _seed_lines(axes, one, titles)
    for index, point in enumerate(one.points):
        if point.known:
            gid = f"point-{index}"
            titles[gid] = point_title(point, one)
            _mark(axes, point, index, point.label in one.front, gid)
    front = [point for label in one.front for point in one.points if point.label == label]
    axes.plot(*_places(front), color="black", linewidth=1.2, linestyle="--", zorder=1, label="Pareto front")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(measure_name(one.asr), fontsize=10)
    axes.set_xlabel(f"NRR on {measure_name(one.nrr)}: more helpful to the right")
    axes.set_ylabel("ASR: safer below")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=9)
    return titles


def point_title(point: Point, one: Frontier) -> str:
    """What a point says: configuration, rates with n and intervals, and whether another one beats it."""
    seed = seed_words(point, one)
    seed = f", {seed}" if seed.startswith("mean") else f", seed {seed}" if seed else ""
    told = standing(point, one)
    return f"{point.label}{seed}: ASR {share_cell(point.asr)}, NRR {share_cell(point.nrr)}{told and '; ' + told}"


def _mark(axes: Axes, point: Point, index: int, on_front: bool, gid: str) -> None:
    colour = COLOURS[index % len(COLOURS)]
    bars: Any = {"xerr": _bars(point.nrr), "yerr": _bars(point.asr), "capsize": 3, "elinewidth": 1}
    drawn = axes.errorbar(
        *_places([point]),
        **bars,
        color=colour,
        fmt=MARKERS[index // len(COLOURS) % len(MARKERS)],
        markersize=10,
        markerfacecolor=colour if on_front else "none",
        zorder=3,
        label=point.label + ("" if on_front else " (dominated)"),
    )
    drawn[0].set_gid(gid)


def _seed_lines(axes: Axes, one: Frontier, titles: dict[str, str]) -> None:
    """A thin line a seed through the configurations in the sweep's order, where there are several seeds."""
    seeds = list(dict.fromkeys(point.seed for point in one.seeds if point.seed is not None))
    if len(seeds) < 2:
        return
    for index, seed in enumerate(seeds):
        own = [point for point in one.seeds if point.seed == seed and point.known]
        style = ("-", "--", ":", "-.")[index % 4]
        axes.plot(*_places(own), color=GREY, linewidth=0.7, linestyle=style, zorder=0, label=f"seed {seed}")
        for number, point in enumerate(own):
            gid = f"seed-{index}-{number}"
            titles[gid] = point_title(point, one)
            (drawn,) = axes.plot(*_places([point]), color=GREY, marker=".", markersize=6, linestyle="", zorder=2)
            drawn.set_gid(gid)


def _places(points: Sequence[Point]) -> tuple[list[Any], list[Any]]:
    return [point.nrr.value for point in points], [point.asr.value for point in points]


def _bars(share: Share) -> list[list[float]] | None:
    if share.value is None or share.low is None or share.high is None:
        return None
    return [[max(0.0, share.value - share.low)], [max(0.0, share.high - share.value)]]
