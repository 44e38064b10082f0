"""Safety against helpfulness: ASR on harmful requests over NRR on XSTest's safe ones, a panel for each attack.

Colour says the evaluation and marker the benchmark; bars are Wilson 95 % intervals. Colours by Okabe and Ito.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from cada_trl.evals.scores import Measure
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name, labels

HELPFUL = ("xstest_safe", "none")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cada_trl",
}


def attacks_shown(records: Sequence[EvalRecord]) -> list[str]:
    """Attacks with at least one point: an evaluation with ASR under it and with NRR on XSTest."""
    return list(dict.fromkeys(attack for record in records if _helpful(record) for attack, _, _ in _points(record)))


def tradeoff_svg(records: Sequence[EvalRecord], attack: str) -> bytes:
    """One attack alone, for a page that lays the panels out itself."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 4.6), layout="constrained")
        draw(figure.add_subplot(), records, attack)
        return _saved(figure, "svg")


def tradeoff_png(records: Sequence[EvalRecord]) -> bytes:
    """All attacks in one PNG, two panels a row."""
    attacks = attacks_shown(records)
    n_rows = (len(attacks) + 1) // 2
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 4.6 * n_rows), dpi=200, layout="constrained")
        for place, attack in enumerate(attacks, start=1):
            draw(figure.add_subplot(n_rows, min(2, len(attacks)), place), records, attack)
        return _saved(figure, "png")


def draw(axes: Axes, records: Sequence[EvalRecord], attack: str) -> None:
    """A point for each evaluation and harmful benchmark."""
    benchmarks = list(dict.fromkeys(name for record in records for _, name, _ in _points(record)))
    first: dict[str, tuple[float, float]] = {}
    for index, record in enumerate(records):
        helpful = _helpful(record)
        for one, name, asr in _points(record):
            if helpful is not None and one == attack:
                marker = MARKERS[benchmarks.index(name) % len(MARKERS)]
                x, y = _point(axes, helpful, asr, color=COLOURS[index % len(COLOURS)], fmt=marker)
                start = first.setdefault(name, (x, y))
                axes.plot(*zip(start, (x, y), strict=True), color="#6B6B6B", linewidth=0.6, zorder=0)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(attack_name(attack).replace("no attack", "No attack"))
    axes.set_xlabel("NRR on XSTest, safe: more helpful to the right")
    axes.set_ylabel("ASR on harmful requests: safer below")
    shown = [
        name for name in benchmarks if any((attack, name) == point[:2] for one in records for point in _points(one))
    ]
    _legend(axes, labels(records), [(name, MARKERS[benchmarks.index(name) % len(MARKERS)]) for name in shown])


def _point(axes: Axes, helpful: Measure, asr: Measure, **style: Any) -> tuple[float, float]:
    assert helpful.value is not None and asr.value is not None
    bars: Any = {"xerr": _bars(helpful), "yerr": _bars(asr), "capsize": 2, "elinewidth": 1}
    axes.errorbar(helpful.value, asr.value, **bars, **style, markerfacecolor="none", markersize=8)
    return helpful.value, asr.value


def _legend(axes: Axes, evaluations: Sequence[str], benchmarks: Sequence[tuple[str, str]]) -> None:
    grey: Any = {"color": "#6B6B6B", "linestyle": ""}
    handles = [Line2D([], [], marker=marker, label=benchmark_name(name), **grey) for name, marker in benchmarks]
    handles += [
        Line2D([], [], color=COLOURS[index % len(COLOURS)], linewidth=4, label=name)
        for index, name in enumerate(evaluations)
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=9)


def _points(record: EvalRecord) -> list[tuple[str, str, Measure]]:
    """(attack, harmful benchmark, its ASR) wherever there is a number."""
    return [
        (cell.attack, cell.benchmark, cell.headline)
        for cell in record.scores.cells
        if cell.metric == "asr" and cell.headline.value is not None
    ]


def _helpful(record: EvalRecord) -> Measure | None:
    cell = record.cell(*HELPFUL)
    return cell.headline if cell is not None and cell.headline.value is not None else None


def _bars(measure: Measure) -> list[list[float]]:
    assert measure.value is not None and measure.low is not None and measure.high is not None
    return [[measure.value - measure.low], [measure.high - measure.value]]


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()
