"""Safety against helpfulness: ASR on harmful requests over NRR on XSTest's safe ones, a panel for each attack.

Colour says the evaluation and marker the benchmark; bars are Wilson 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from cada_trl.evaluation.scores import Measure
from cada_trl.report.drawing import COLOURS, GREY, MARKERS, bars, drawn, key, legend_below, saved, shares, turn
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import attack_name, benchmark_name, labels

HELPFUL = ("xstest_safe", "none")


def attacks_shown(records: Sequence[EvalRecord]) -> list[str]:
    """Attacks with at least one point: an evaluation with ASR under it and with NRR on XSTest."""
    return list(dict.fromkeys(attack for record in records if _helpful(record) for attack, _, _ in _points(record)))


def tradeoff_svg(records: Sequence[EvalRecord], attack: str) -> bytes:
    """One attack alone, for a page that lays the panels out itself."""
    with drawn((5.2, 4.6)) as figure:
        draw(figure.add_subplot(), records, attack)
        return saved(figure, "svg")


def tradeoff_png(records: Sequence[EvalRecord]) -> bytes:
    """All attacks in one PNG, two panels beside each other."""
    attacks = attacks_shown(records)
    n_rows = (len(attacks) + 1) // 2
    with drawn((9, 4.6 * n_rows), dpi=200) as figure:
        for place, attack in enumerate(attacks, start=1):
            draw(figure.add_subplot(n_rows, min(2, len(attacks)), place), records, attack)
        return saved(figure, "png")


def draw(axes: Axes, records: Sequence[EvalRecord], attack: str) -> None:
    """A point for each evaluation and harmful benchmark."""
    benchmarks = list(dict.fromkeys(name for record in records for _, name, _ in _points(record)))
    first: dict[str, tuple[float, float]] = {}
    for index, record in enumerate(records):
        helpful = _helpful(record)
        for under, name, asr in _points(record):
            if helpful is not None and under == attack:
                marker = turn(MARKERS, benchmarks.index(name))
                x, y = _point(axes, helpful, asr, color=turn(COLOURS, index), fmt=marker)
                start = first.setdefault(name, (x, y))
                axes.plot(*zip(start, (x, y), strict=True), color=GREY, linewidth=0.6, zorder=0)
    shares(axes)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(attack_name(attack).replace("no attack", "No attack"))
    axes.set_xlabel("NRR on XSTest, safe: more helpful to the right")
    axes.set_ylabel("ASR on harmful requests: safer below")
    shown = {name for record in records for under, name, _ in _points(record) if under == attack}
    handles = [
        key(benchmark_name(name), marker=turn(MARKERS, place), color=GREY, linestyle="")
        for place, name in enumerate(benchmarks)
        if name in shown
    ]
    names = enumerate(labels(records))
    legend_below(axes, handles + [key(name, color=turn(COLOURS, index), linewidth=4) for index, name in names], 0.15)


def _point(axes: Axes, helpful: Measure, asr: Measure, **style: Any) -> tuple[float, float]:
    assert helpful.value is not None and asr.value is not None
    errors: Any = {"xerr": _bars(helpful), "yerr": _bars(asr), "capsize": 2, "elinewidth": 1}
    axes.errorbar(helpful.value, asr.value, **errors, **style, markerfacecolor="none", markersize=8)
    return helpful.value, asr.value


def _bars(measure: Measure) -> list[list[float]] | None:
    assert measure.value is not None and measure.low is not None and measure.high is not None
    return bars(measure.value, (measure.low, measure.high))


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
