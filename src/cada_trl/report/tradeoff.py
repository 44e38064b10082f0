"""Safety against helpfulness in two pictures: evaluations beside each other, and a sweep's configurations.

Evaluations: ASR over NRR on XSTest's safe requests, a panel for each attack; colour says the evaluation and marker the
benchmark. Configurations: what was refused of both; small marks are seeds and a large one is their mean, filled where
no other one beats it. Bars are 95 % intervals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import Any

from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from cada_trl.evaluation.scores import Measure
from cada_trl.report.drawing import (
    BLACK,
    COLOURS,
    GREY,
    INK,
    MARKERS,
    Draw,
    Place,
    key,
    legend_below,
    picture,
    pictures_and_sheet,
    place_labels,
    point,
    shares,
    turn,
)
from cada_trl.report.frontier import Frontier, Point, Share, measure_name
from cada_trl.report.names import attack_name, benchmark_name, labels
from cada_trl.report.records import EvalRecord

HELPFUL = ("xstest_safe", "none")
_HOLLOW: Any = {"markerfacecolor": "white", "markeredgewidth": 1.6}
_SIZE = (9.0, 6.2)  # inches, of a sweep's picture
_LEAST_SPAN = 0.25  # an axis shows no less: noise should not look like a difference


def tradeoff(records: Sequence[EvalRecord]) -> tuple[list[tuple[str, bytes]], bytes]:
    """Caption and SVG of each attack's panel, and all of them as one PNG; none without both ASR and NRR on XSTest."""
    caption = "ASR over NRR on XSTest under {}; the numbers are in the table of rates"
    draws: dict[str, Draw] = {
        caption.format(attack_name(attack)): partial(draw_attack, records=records, attack=attack)
        for attack in dict.fromkeys(attack for record in records for attack, _ in _points(record))
    }
    return pictures_and_sheet(draws, 4.6 * ((len(draws) + 1) // 2)) if draws else ([], b"")


def draw_attack(axes: Axes, records: Sequence[EvalRecord], attack: str) -> None:
    """A point for each evaluation and harmful benchmark, and a line from the first evaluation's."""
    benchmarks = list(dict.fromkeys(name for record in records for _, name in _points(record)))
    first: dict[str, Place] = {}
    for index, record in enumerate(records):
        for (under, name), (nrr, asr) in _points(record).items():
            if under == attack:
                look: Any = {"color": turn(COLOURS, index), "marker": turn(MARKERS, benchmarks.index(name))}
                x, y = float(nrr.value or 0), float(asr.value or 0)
                point(axes, x, y, (nrr.low, nrr.high), (asr.low, asr.high), **look | _HOLLOW, markersize=8)
                start = first.setdefault(name, (x, y))
                axes.plot(*zip(start, (x, y), strict=True), color=GREY, linewidth=0.6, zorder=0)
    shares(axes)
    axes.set_title(attack_name(attack).replace("no attack", "No attack"))
    _label(axes, "NRR on XSTest, safe: more helpful to the right", "ASR on harmful requests: safer below")
    handles = [
        key(benchmark_name(name), marker=turn(MARKERS, place), color=GREY, linestyle="")
        for place, name in enumerate(benchmarks)
        if name in first
    ]
    names = enumerate(labels(records))
    legend_below(axes, handles + [key(name, color=turn(COLOURS, index), linewidth=4) for index, name in names])


def _points(record: EvalRecord) -> dict[tuple[str, str], tuple[Measure, Measure]]:
    """(attack, harmful benchmark) -> NRR on XSTest and ASR, wherever both have a number."""
    helpful = record.scores.cell(*HELPFUL)
    if helpful is None or helpful.headline.value is None:
        return {}
    return {
        (cell.attack, cell.benchmark): (helpful.headline, cell.headline)
        for cell in record.scores.cells
        if cell.metric == "asr" and cell.headline.value is not None
    }


def _label(axes: Axes, x: str, y: str) -> None:
    for axis, label in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_label_text(label)


def frontier_svg(one: Frontier, prefix: str, titles: Mapping[str, str]) -> str:
    """The picture inside a page, its ids after the prefix. titles: a mark's id -> what it says under the pointer."""
    svg = picture([partial(draw_frontier, one=one)], _SIZE, font=11).decode()
    svg = svg[svg.index("<svg") :]
    for gid, title in titles.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(title)}</title>', 1)
    # matplotlib counts ids from 1 in every picture
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def frontier_png(frontiers: Sequence[Frontier]) -> bytes:
    """All pictures in one PNG, one below the other: each keeps the width that its letters need."""
    draws: list[Draw] = [partial(draw_frontier, one=one) for one in frontiers]
    return picture(draws, (_SIZE[0], _SIZE[1] * len(draws)), "png", dpi=150, font=11)


def draw_frontier(axes: Axes, one: Frontier) -> Callable[[], None]:
    """Marks with the ids point-<i> and seed-<i>-<j>, bars and the front; returns what writes the labels."""
    known, marks, lines = [each for each in one.points if each.known], [], []
    front = [_mean(each) for label in one.front for each in known if each.label == label]
    axes.plot(*zip(*front, strict=True), color=INK, linewidth=1, linestyle="--", zorder=1)
    for i, each in enumerate(known):
        (x, y), look = _mean(each), _look(each, i)
        places = list(zip(_refused(each.nrr), _refused(each.asr), strict=True))
        for j, place in enumerate(places if len(places) > 1 else []):
            axes.plot(*zip((x, y), place, strict=True), color=look["color"], linewidth=0.6, alpha=0.6, zorder=1)
            small: Any = look | {"markersize": 4.5, "alpha": 0.75, "linestyle": "", "zorder": 2}
            axes.plot(*place, **small)[0].set_gid(f"seed-{i}-{j}")
        ends = _ends(each.nrr), _ends(each.asr)
        filled: Any = {} if each.label in one.front else _HOLLOW
        point(axes, x, y, *ends, **look | filled, zorder=3).set_gid(f"point-{i}")
        marks += [(x, y), *places]
        lines += [((ends[0][0], y), (ends[0][1], y))] if ends[0] else []
        lines += [((x, ends[1][0]), (x, ends[1][1]))] if ends[1] else []
    _limits(known, axes)
    axes.set_title(measure_name(one.asr))
    x_label = f"Refused of {measure_name(one.nrr)} (over-refusal, 1 - NRR): better to the left"
    _label(axes, x_label, "Harmful requests refused (1 - ASR): better above")
    legend_below(axes, _legend(known, one.front), columns=4)
    names = [(each.label, _mean(each)) for each in known]
    return lambda: place_labels(axes, names, marks, [*pairwise(front), *lines], color=INK, fontsize=10)


def _refused(share: Share) -> list[float]:
    """Of each seed: what is left of 1. They are on the pairs that all have, so that the mean is that of the tables."""
    return [1 - value for value in share.per_seed]


def _ends(share: Share) -> Place | None:
    return None if share.low is None or share.high is None else (1 - share.high, 1 - share.low)


def _mean(each: Point) -> Place:
    return fmean(_refused(each.nrr)), fmean(_refused(each.asr))


def _look(each: Point, i: int) -> dict[str, Any]:
    """A configuration's own colour and marker; the model before training is a star."""
    if not each.trained:
        return {"color": BLACK, "marker": "*", "markersize": 15}
    return {"color": turn(COLOURS, i), "marker": turn(MARKERS, i), "markersize": 10}


def _legend(known: Sequence[Point], front: Sequence[str]) -> list[Any]:
    """What no label says: what the marks are."""
    handles = [key("untrained model", linestyle="", **_look(each, 0)) for each in known if not each.trained][:1]
    grey: Any = {"color": GREY, "marker": "o", "linestyle": "", "markersize": 10}
    if any(len(each.asr.per_seed) > 1 for each in known):
        handles += [key("mean over seeds", **grey), key("a seed", **grey | {"markersize": 4.5})]
    if any(each.label not in front for each in known):
        handles.append(key("another one is as good or better in both", **grey | _HOLLOW))
    return [*handles, key("front", color=INK, linewidth=1, linestyle="--")]


def _limits(known: Sequence[Point], axes: Axes) -> None:
    """As far as marks and bars reach, so that near points come apart."""
    for of, set_limits in (([one.nrr for one in known], axes.set_xlim), ([one.asr for one in known], axes.set_ylim)):
        values = [end for share in of for end in (*_refused(share), *(_ends(share) or ()))]
        low, high = min(values), max(values)
        spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
        low, high = (low - spare, high + spare)
        shift = max(0.0, -low) - max(0.0, high - 1)  # noise at an end: the span goes on at the other side
        pad = 0.08 * (high - low)
        set_limits(max(-0.04, low + shift - pad), min(1.04, high + shift + pad))
