"""How every picture is drawn: one style, one palette, one legend; labels stand where they cover the least.

Colours by Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

BLUE, VERMILION, ORANGE, BLACK = "#0072B2", "#D55E00", "#E69F00", "#000000"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", ORANGE, "#56B4E9", BLACK)
GREY, INK = "#6B6B6B", "#222222"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")  # one more than COLOURS: one index gives 56 looks
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
HOLLOW: Any = {"markerfacecolor": "white", "markeredgewidth": 1.6}
PANEL_SIZE = (5.2, 4.0)  # inches, of a picture that stands beside others on the page
LEGEND_INCHES = 0.8  # inches of a panel's height that a legend may take; a taller one makes the picture taller
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
    with matplotlib.rc_context(_STYLE | {"font.size": font}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script is a row of boxes
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels: Any = figure.subplot_mosaic(rows)  # type: ignore[arg-type]
        waiting = [later for place, draw in enumerate(draws) if (later := draw(panels[place]))]
        taller = sum(max(_legend_taller(panels[place]) for place in row) for row in rows)
        figure.set_size_inches(size[0], size[1] + taller)
        if waiting or taller:  # the first layout of a new height has the ticks of the old one
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


def legend_below(axes: Axes, handles: Sequence[Any], columns: int | None = None) -> None:
    """The legend below the axis' title, by default in as many columns as its names allow; nothing for no handles."""
    if handles:
        names = [fill(handle.get_label(), 50) for handle in handles]
        columns = columns or (2 if max(map(len, names)) <= 25 else 1)
        place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": columns}
        axes.legend(handles, names, frameon=False, fontsize=9, **place)


def _legend_taller(axes: Axes) -> float:
    """Inches above LEGEND_INCHES."""
    legend, dpi = axes.get_legend(), axes.figure.dpi
    return max(0.0, legend.get_window_extent().height / dpi - LEGEND_INCHES) if legend else 0.0


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
    labels: Sequence[tuple[str, Place, str]],
    marks: Sequence[Place],
    lines: Sequence[tuple[Place, Place]] = (),
    **style: Any,
) -> None:
    """Write each text beside its place, in its mark's colour. marks, lines: what should not be covered.

    The limits must stand and the figure be laid out, since both move places. A label that had to go far, or stands
    about as near to another mark, has a thin line to its point.
    """
    figure: Any = axes.figure
    scale = figure.dpi / 72
    pixels = axes.transData.transform
    taken = _around(pixels(np.reshape(marks, (-1, 2))), _MARK * scale)
    for line in lines:
        start, end = pixels(line)
        taken = np.vstack([taken, _around(np.linspace(start, end, 200), _LINE * scale)])
    inside = np.array([axes.bbox.extents])
    for text, place, colour in labels:
        look: Any = style | {"color": tuple(0.6 * part for part in to_rgb(colour)), "bbox": _GROUND, "zorder": 5}
        note = axes.annotate(text, place, xytext=(0, 0), textcoords="offset points", **look)
        note.set_in_layout(False)
        own, where = note.get_window_extent(), pixels(place)
        size = np.array([own.width, own.height])
        others = pixels(np.reshape([mark for mark in marks if tuple(mark) != tuple(place)], (-1, 2)))
        choices = [(d, _beside(where, size, d * scale, angle)) for d in _DISTANCES for angle in _ANGLES]
        is_near = [float((_apart(box, others) < 1.5 * d * scale).any()) for d, box in choices]
        costs = [_cost(box, taken, inside) + 0.02 * d for d, box in choices]
        chosen = int(np.argmin(np.add(costs, np.multiply(0.3, is_near))))
        distance, box = choices[chosen]
        note.set_position(tuple((box[:2] - where) / scale))
        if distance > _DISTANCES[1] or is_near[chosen]:
            end = axes.transData.inverted().transform(where.clip(box[:2], box[2:]))
            axes.plot([place[0], end[0]], [place[1], end[1]], color=colour, linewidth=0.8, zorder=1.5)
        taken = np.vstack([taken, box])


def _around(places: Boxes, radius: float) -> Boxes:
    return np.hstack([places - radius, places + radius])


def _beside(where: Boxes, size: Boxes, distance: float, angle: float) -> Boxes:
    """The box of a label whose nearest edge or corner is at the distance, in this direction."""
    direction = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))]).round(6)
    low = where + distance * direction + size * (np.sign(direction) - 1) / 2
    return np.hstack([low, low + size])


def _apart(box: Boxes, places: Boxes) -> Boxes:
    """Pixels between the box and each place; 0 inside it."""
    return np.linalg.norm(np.maximum(0.0, np.maximum(box[:2] - places, places - box[2:])), axis=1)


def _cost(box: Boxes, taken: Boxes, inside: Boxes) -> float:
    """Shares of the label that are covered, and far more for what is outside the axes."""
    covered, within = (
        float((np.minimum(box[2:], other[:, 2:]) - np.maximum(box[:2], other[:, :2])).clip(min=0).prod(axis=1).sum())
        for other in (taken, inside)
    )
    area = float((box[2:] - box[:2]).prod())
    return (10 * covered + 100 * (area - within)) / area
