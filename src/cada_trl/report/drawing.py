"""How every picture is drawn: one style, one palette, one legend; labels stand where they cover the least.

Colours by Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

BLUE, VERMILION, ORANGE, BLACK = "#0072B2", "#D55E00", "#E69F00", "#000000"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", ORANGE, "#56B4E9", BLACK)
GREY, INK = "#6B6B6B", "#222222"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
HOLLOW: Any = {"markerfacecolor": "white", "markeredgewidth": 1.6}
PANEL_SIZE = (5.2, 4.0)  # inches, of a picture that stands beside others on the page
SHEET_DPI = 200  # of 9 inches: 1800 px, twice the 900 that a page shows
_STYLE: Any = {
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cada_trl",
    "text.parse_math": False,  # a folder's name may hold two "$"
}
Draw = Callable[[Axes], Callable[[], None] | None]  # returns what waits for the layout


def turn(choices: Sequence[Any], index: int) -> Any:
    """The colour, marker or dash of the index-th thing; they begin again where there are more."""
    return choices[index % len(choices)]


def picture(
    draws: Sequence[Draw],
    size: tuple[float, float] = PANEL_SIZE,
    kind: str = "svg",
    columns: int = 1,
    dpi: float = 100,
    font: float = 10,
) -> bytes:
    """The panels as one svg or png, the same bytes for the same content; one alone in its row has the row's width."""
    rows = [list(range(len(draws)))[start : start + columns] for start in range(0, len(draws), columns)]
    rows[-1] *= columns // len(rows[-1])
    with matplotlib.rc_context(_STYLE | {"font.size": font}):
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels: Any = figure.subplot_mosaic(rows)  # type: ignore[arg-type]
        waiting = [later for place, draw in enumerate(draws) if (later := draw(panels[place]))]
        if waiting:
            figure.draw_without_rendering()
        for later in waiting:
            later()
        buffer, nothing = io.BytesIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format=kind, metadata=nothing if kind == "svg" else None)  # type: ignore[arg-type]
    return buffer.getvalue()


def pictures_and_sheet(draws: Mapping[str, Draw], height: float) -> tuple[list[tuple[str, bytes]], bytes]:
    """Caption and SVG of each, for a page that lays them out itself; and all of them as one PNG in two columns."""
    sheet = picture(list(draws.values()), (9, height), "png", columns=2, dpi=SHEET_DPI)
    return [(caption, picture([draw])) for caption, draw in draws.items()], sheet


def shares(axes: Axes, which: str = "xy") -> None:
    """Axes of fractions: from 0 to 1, whatever is drawn."""
    for name in which:
        getattr(axes, f"set_{name}lim")(-0.03, 1.03)


def label_percent(axes: Axes, x: str, y: str) -> None:
    """Titles of both axes, in percent."""
    for axis, label in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_label_text(label)


def legend_below(axes: Axes, handles: Sequence[Any], columns: int = 2) -> None:
    """The legend below the axis' title; nothing for no handles."""
    if handles:
        place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": columns}
        axes.legend(handles=handles, frameon=False, fontsize=9, **place)


def key(label: str, **style: Any) -> Line2D:
    return Line2D([], [], label=label, **style)


def point(axes: Axes, x: float, y: float, x_ends: Any = None, y_ends: Any = None, **style: Any) -> Line2D:
    """A mark with its 95 % intervals, as far as there are any."""
    bars: list[Any] = [
        [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]] if ends else None
        for value, ends in ((x, x_ends), (y, y_ends))
    ]
    ends: Any = {"capsize": 2, "elinewidth": 1.1, "linestyle": ""}
    mark: Line2D = axes.errorbar(x, y, xerr=bars[0], yerr=bars[1], **ends | style)[0]
    return mark


Place = tuple[float, float]
Boxes = npt.NDArray[np.float64]  # [n, (left, low, right, high)], in pixels
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

    The limits must stand and the figure be laid out, since both move places. A label that had to go far has a thin line
    to its point.
    """
    figure: Any = axes.figure
    scale = figure.dpi / 72
    pixels = axes.transData.transform
    taken = _around(pixels(np.reshape(marks, (-1, 2))), _MARK * scale)
    for line in lines:
        start, end = pixels(line)
        taken = np.vstack([taken, _around(np.linspace(start, end, 200), _LINE * scale)])
    inside = np.array([axes.bbox.extents])
    for text, place in labels:
        note = axes.annotate(text, place, xytext=(0, 0), textcoords="offset points", zorder=5, bbox=_GROUND, **style)
        note.set_in_layout(False)
        own, where = note.get_window_extent(), pixels(place)
        size = np.array([own.width, own.height])
        choices = [(d, _beside(where, size, d * scale, angle)) for d in _DISTANCES for angle in _ANGLES]
        costs = [_cost(box, taken, inside) + 0.02 * distance for distance, box in choices]
        distance, box = choices[int(np.argmin(costs))]
        note.set_position(tuple((box[:2] - where) / scale))
        if distance > _DISTANCES[1]:
            middle = axes.transData.inverted().transform((box[:2] + box[2:]) / 2)
            thin: Any = {"color": GREY, "linewidth": 0.6, "zorder": 1.5}
            axes.plot([place[0], middle[0]], [place[1], middle[1]], **thin)
        taken = np.vstack([taken, box])


def _around(places: Boxes, radius: float) -> Boxes:
    return np.hstack([places - radius, places + radius])


def _beside(where: Boxes, size: Boxes, distance: float, angle: float) -> Boxes:
    """The box of a label whose nearest edge or corner is at the distance, in this direction."""
    direction = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))]).round(6)
    low = where + distance * direction + size * (np.sign(direction) - 1) / 2
    return np.hstack([low, low + size])


def _cost(box: Boxes, taken: Boxes, inside: Boxes) -> float:
    """Shares of the label that are covered, and far more for what is outside the axes."""
    covered, within = (
        float((np.minimum(box[2:], other[:, 2:]) - np.maximum(box[:2], other[:, :2])).clip(min=0).prod(axis=1).sum())
        for other in (taken, inside)
    )
    area = float((box[2:] - box[:2]).prod())
    return (10 * covered + 100 * (area - within)) / area
