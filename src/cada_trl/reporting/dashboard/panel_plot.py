"""One panel of the dashboard drawn for some runs: colour says the run, dashes say the metric."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cada_trl.reporting.dashboard.series import Series
from cada_trl.reporting.evaluation.tradeoff import COLOURS, MARKERS
from cada_trl.reporting.run.labels import SETS, measure_label
from cada_trl.tracking.panels import Panel

_STYLE: Any = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cada_trl",
}
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
GREY = "#6B6B6B"
Logged = dict[str, Series]


def panel_svg(panel: Panel, runs: Sequence[tuple[str, Logged]]) -> bytes:
    """The panel as a picture. runs: name and series of each."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        (_scatter if panel.kind == "scatter" else _lines)(axes, panel, runs)
        axes.set_title(panel.title, fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _lines(axes: Axes, panel: Panel, runs: Sequence[tuple[str, Logged]]) -> None:
    for index, (_, logged) in enumerate(runs):
        for place, name in enumerate(panel.metrics):
            steps, values = zip(*logged.get(name, [(None, None)]), strict=True)
            style: Any = {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[place % len(_DASHES)]}
            if steps[0] is not None:
                axes.plot(steps, values, linewidth=1.3, marker="o" if len(steps) < 10 else "", markersize=4, **style)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(panel.unit)
    if panel.unit == "fraction":
        axes.set_ylim(-0.03, 1.03)
    handles = [
        Line2D([], [], color=GREY, linestyle=_DASHES[place % len(_DASHES)], label=name.partition("/")[2])
        for place, name in enumerate(panel.metrics)
    ]
    _legend(axes, handles if len(handles) > 1 else [], runs)


def _scatter(axes: Axes, panel: Panel, runs: Sequence[tuple[str, Logged]]) -> None:
    x, y = panel.metrics
    for index, (_, logged) in enumerate(runs):
        if x in logged and y in logged:
            marker = MARKERS[index // len(COLOURS) % len(MARKERS)]
            axes.plot(logged[x][-1][1], logged[y][-1][1], marker, color=COLOURS[index % len(COLOURS)], markersize=8)
    axes.set_xlabel(_in_words(x))
    axes.set_ylabel(_in_words(y))
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    _legend(axes, [], runs)


def _in_words(probed: str) -> str:
    _, probe_set, measure = probed.split("/")
    return f"{SETS[probe_set]}: {measure_label(probe_set, measure)}, fraction"


def _legend(axes: Axes, handles: list[Line2D], runs: Sequence[tuple[str, Logged]]) -> None:
    if len(runs) > 1:
        handles += [
            Line2D([], [], color=COLOURS[index % len(COLOURS)], linewidth=4, label=name)
            for index, (name, _) in enumerate(runs)
        ]
    if handles:
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=8)
