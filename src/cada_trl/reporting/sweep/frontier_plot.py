"""A sweep's frontier drawn once, as SVG whose points say what they are under the pointer, and as PNG.

The drawing is frontier_picture.py; it shows what is refused, and the tables and titles say ASR and NRR: 1 less that.
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

from cada_trl.reporting.sweep.answers import measure_name
from cada_trl.reporting.sweep.cells import seed_words, share_cell, standing
from cada_trl.reporting.sweep.frontier import Frontier, Point
from cada_trl.reporting.sweep.frontier_picture import SIZE, STYLE, UNTRAINED, PlotPoint, draw_points, label_points
from cada_trl.reporting.sweep.shares import Share

_NO_METADATA: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def frontier_svg(one: Frontier, prefix: str) -> Markup:
    """The picture to stand inside a page; its ids begin with the prefix, so that several can stand there."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        titles = draw(axes, one)
        figure.draw_without_rendering()
        label_points(axes, plot_points(one), one.front)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for gid, title in titles.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(title)}</title>', 1)
    # matplotlib counts ids from 1 in every picture
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg))


def frontier_png(frontiers: Sequence[Frontier]) -> bytes:
    """All pictures in one PNG, one below the other: each keeps the width that its letters need."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIZE[0], SIZE[1] * len(frontiers)), dpi=150, layout="constrained")
        panels = [figure.add_subplot(len(frontiers), 1, place) for place in range(1, len(frontiers) + 1)]
        for axes, one in zip(panels, frontiers, strict=True):
            draw(axes, one)
        figure.draw_without_rendering()
        for axes, one in zip(panels, frontiers, strict=True):
            label_points(axes, plot_points(one), one.front)
        buffer = io.BytesIO()
        figure.savefig(buffer)
        return buffer.getvalue()


def draw(axes: Axes, one: Frontier) -> dict[str, str]:
    """Draw into the axes, without the labels; returns the id of each mark's group -> what it says under the pointer."""
    shown = [point for point in one.points if point.known]
    draw_points(
        axes,
        plot_points(one),
        one.front,
        f"Refused of {measure_name(one.nrr)} (over-refusal, 1 - NRR): better to the left",
        "Harmful requests refused (1 - ASR): better above",
    )
    axes.set_title(measure_name(one.asr), fontsize=11)
    titles = {f"point-{i}": point_title(point, one) for i, point in enumerate(shown)}
    for i, point in enumerate(shown):
        titles |= {f"seed-{i}-{j}": point_title(seed, one) for j, seed in enumerate(_seeds(point, one))}
    return titles


def plot_points(one: Frontier) -> list[PlotPoint]:
    """The configurations with both numbers, in the sweep's order; each has a colour of its own."""
    return [_plotted(point) for point in one.points if point.known]


def point_title(point: Point, one: Frontier) -> str:
    """What a point says: configuration, rates with n and intervals, and whether another one beats it."""
    seed = seed_words(point, one)
    seed = f", {seed}" if seed.startswith("mean") else f", seed {seed}" if seed else ""
    told = standing(point, one)
    return f"{point.label}{seed}: ASR {share_cell(point.asr)}, NRR {share_cell(point.nrr)}{told and '; ' + told}"


def _plotted(point: Point) -> PlotPoint:
    """Its seeds on the pairs that all of them have, so that the mean is that of the tables."""
    return PlotPoint(
        point.label,
        point.label if point.trained else UNTRAINED,
        [1 - value for value in point.nrr.per_seed],
        [1 - value for value in point.asr.per_seed],
        _refused(point.nrr),
        _refused(point.asr),
    )


def _seeds(point: Point, one: Frontier) -> list[Point]:
    """The configuration's own models; of two configurations with one label the later one is drawn."""
    return [seed for seed in one.seeds if seed.label == point.label][-len(point.asr.per_seed) :]


def _refused(share: Share) -> tuple[float, float] | None:
    """The interval of what is left of 1."""
    return None if share.low is None or share.high is None else (1 - share.high, 1 - share.low)
