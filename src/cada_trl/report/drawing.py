"""How every picture is drawn: one style, one palette, one legend; labels stand where they cover the least.

Colours by Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

BLUE, VERMILION, ORANGE, BLACK = "#0072B2", "#D55E00", "#E69F00", "#000000"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", ORANGE, "#56B4E9", BLACK)
GREY, INK = "#6B6B6B", "#222222"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
PANEL_SIZE = (5.2, 4.0)  # inches, of a picture that stands beside others on the page


def turn(choices: Sequence[Any], index: int) -> Any:
    """The colour, marker or dash of the index-th thing; they begin again where there are more."""
    return choices[index % len(choices)]


@contextmanager
def drawn(size: tuple[float, float], dpi: float = 100, font: float = 10) -> Iterator[Figure]:
    """A figure in the pictures' style, to be filled and saved inside the `with`."""
    style: Any = {"font.size": font, "axes.grid": True, "grid.alpha": 0.25, "svg.hashsalt": "cada_trl"}
    with matplotlib.rc_context(style | {"axes.spines.top": False, "axes.spines.right": False}):
        yield Figure(figsize=size, dpi=dpi, layout="constrained")


def saved(figure: Figure, kind: str) -> bytes:
    """The picture as svg or png, the same bytes for the same content."""
    buffer = io.BytesIO()
    nothing: Any = dict.fromkeys(("Date", "Creator", "Format", "Type")) if kind == "svg" else None
    figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()


def shares(axes: Axes, which: str = "xy") -> None:
    """Axes of fractions: from 0 to 1, whatever is drawn."""
    for name in which:
        getattr(axes, f"set_{name}lim")(-0.03, 1.03)


def legend_below(axes: Axes, handles: Sequence[Any], below: float = 0.17, columns: int = 2) -> None:
    """The legend below the axis' title; nothing for no handles."""
    if handles:
        place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -below), "ncols": columns}
        axes.legend(handles=handles, frameon=False, fontsize=9, **place)


def key(label: str, **style: Any) -> Line2D:
    """A legend's entry."""
    return Line2D([], [], label=label, **style)


def bars(value: float, interval: tuple[float, float] | None) -> list[list[float]] | None:
    """An interval as the distances that errorbar takes."""
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]] if interval else None


Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, low, right, high, in pixels
_DISTANCES = (9, 16, 26, 40, 58)  # points between a mark and its label
_ANGLES = (0, 45, -45, 180, 135, -135, 90, -90)  # to the right first: it is where a reader looks
_MARK = 6.0  # points from the middle of a mark to its edge, a little more
_LINE = 1.5  # points from the middle of a line to what is still covered by it
_GROUND: Any = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8}  # over a line that is crossed


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, Place]],
    marks: Sequence[Place],
    lines: Sequence[tuple[Place, Place]] = (),
    **style: Any,
) -> None:
    """Write each text beside its place. marks, lines: what should not be covered.

    The limits must stand and the figure be laid out (draw_without_rendering), since both move places. A label that had
    to go far has a thin line to its point.
    """
    figure: Any = axes.figure
    scale = figure.dpi / 72
    taken = [_around(_pixels(axes, place), _MARK * scale) for place in marks]
    for start, end in lines:
        ends = _pixels(axes, start), _pixels(axes, end)
        taken += [_around(where, _LINE * scale) for where in _along(*ends, 2 * _LINE * scale)]
    inside = tuple(float(end) for end in axes.bbox.extents)
    for text, place in labels:
        note = axes.annotate(text, place, xytext=(0, 0), textcoords="offset points", zorder=5, bbox=_GROUND, **style)
        note.set_in_layout(False)
        own = note.get_window_extent()
        where = _pixels(axes, place)
        others = np.array(taken).reshape(-1, 4)
        costs = []
        for rank, (distance, angle) in enumerate((d, a) for d in _DISTANCES for a in _ANGLES):
            box = _beside(where, own.width, own.height, distance * scale, angle)
            costs.append((_cost(box, others, np.array([inside])) + 0.02 * distance, rank, distance, box))
        _, _, distance, box = min(costs, key=lambda one: one[:2])
        note.set_position(((box[0] - where[0]) / scale, (box[1] - where[1]) / scale))
        if distance > _DISTANCES[1]:
            middle = axes.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
            line: Any = {"color": GREY, "linewidth": 0.6, "zorder": 1.5}
            axes.plot([place[0], middle[0]], [place[1], middle[1]], **line)
        taken.append(box)


def _pixels(axes: Axes, place: Place) -> Place:
    x, y = axes.transData.transform(place)
    return float(x), float(y)


def _along(start: Place, end: Place, step: float) -> list[Place]:
    """Places from start to end, a step apart."""
    n = int(math.dist(start, end) / step) + 2
    xs, ys = (np.linspace(a, b, n).tolist() for a, b in zip(start, end, strict=True))
    return list(zip(xs, ys, strict=True))


def _beside(where: Place, width: float, height: float, distance: float, angle: float) -> Box:
    """The box of a label whose nearest edge or corner is at the distance, in this direction."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    left = where[0] + distance * across + (0 if across > 0.1 else -width if across < -0.1 else -width / 2)
    low = where[1] + distance * up + (0 if up > 0.1 else -height if up < -0.1 else -height / 2)
    return left, low, left + width, low + height


def _around(where: Place, radius: float) -> Box:
    return where[0] - radius, where[1] - radius, where[0] + radius, where[1] + radius


def _cost(box: Box, taken: npt.NDArray[np.float64], inside: npt.NDArray[np.float64]) -> float:
    """Shares of the label that are covered, and far more for what is outside the axes."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return (10 * _overlap(box, taken) + 100 * (area - _overlap(box, inside))) / area


def _overlap(box: Box, others: npt.NDArray[np.float64]) -> float:
    """The areas that the box shares with the others, in all."""
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    high = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((wide.clip(min=0) * high.clip(min=0)).sum())
