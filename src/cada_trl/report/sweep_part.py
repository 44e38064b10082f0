"""What the report says of sweeps: each picture of ASR against NRR, its front, the tests along it and its table.

A picture shows what was refused of both; small marks are seeds and a large one is their mean, filled where no other one
beats it. Bars are 95 % intervals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import Any

from markupsafe import escape
from matplotlib.axes import Axes

from cada_trl.document.blocks import (
    Block,
    Bullets,
    Document,
    Drawing,
    Facts,
    Figures,
    Heading,
    Section,
    Shown,
    Table,
    Text,
)
from cada_trl.evaluation.compare import Change
from cada_trl.numbers import ABSENT, RATE, Cell
from cada_trl.report.drawing import (
    BLACK,
    COLOURS,
    GREY,
    HOLLOW,
    INK,
    MARKERS,
    Draw,
    Place,
    key,
    label_percent,
    legend_below,
    picture,
    place_labels,
    point,
    turn,
)
from cada_trl.report.frontier import Frontier, Neighbours, Point, Share, axes_shown, frontier, measure_name, measured
from cada_trl.report.names import pooled_note
from cada_trl.report.rates import change_cell
from cada_trl.report.records import SweepRecord

ONE_SEED = "One seed per configuration: its interval is that of one model over requests, not of further seeds."
_PICTURE = (
    "A large mark is a configuration, the mean over its seeds, which are its small marks; filled marks are on the "
    "Pareto front: no other configuration has a lower ASR and at least its NRR, or a higher NRR and at most its ASR. "
    "The star is the model before training. Bars are 95 % intervals. The picture shows what was refused: 1 less ASR "
    "upwards, 1 less NRR to the right. Point at a mark for its numbers; the tables hold the same."
)
_OTHER_REQUESTS = (
    'These configurations were not all asked the same requests: places, front and "dominated by" compare the requests, '
    "too. Only the table of neighbours is on shared ones."
)
_NEIGHBOURS = (
    "Neighbours on the front, compared in pairs on the same requests: to minus from. p is McNemar's exact test (sign "
    "flip where a request has several attacks), for one seed per side; Holm over this table. Several seeds: the "
    "interval alone, with the spread pooled as said above."
)
_RATES = (
    "Rates: value, 95 % interval, or the lowest and the highest seed where there is none, and scored of asked. A "
    "seed's interval is over requests."
)
_SIZE = (9.0, 6.2)  # inches, of a picture
_LEAST_SPAN = 0.25  # an axis shows no less: noise should not look like a difference


def sweep_part(sweeps: Sequence[SweepRecord]) -> Document:
    """The sweeps' sections, with a frontier-<sweep>.png beside them; frontier.png for one, numbers for equal names."""
    sections, twin = [], []
    names = [sweep.name for sweep in sweeps]
    images: dict[str, bytes] = {}
    for number, given in enumerate(sweeps, start=1):
        cells = [measured(cell) for cell in [*given.initial, *given.cells]]
        drawable = [frontier(cells, asr, nrr) for asr, nrr in axes_shown(cells)]
        frontiers, prefix = [one for one in drawable if one.front], f"sweep{number}"
        unknown = [f"{_title(one)}: {reason}" for one in drawable if not one.front for reason in _reasons(one)]
        sweep = replace(given, missing=[*given.missing, *unknown])
        own = sweep.name if len(set(names)) == len(names) else number
        file = "frontier.png" if len(sweeps) == 1 else f"frontier-{own}.png"
        sections.append(Section(f"Sweep {sweep.name}", _blocks(sweep, frontiers, prefix, file), prefix))
        twin.append({"sweep": sweep.name, "missing": sweep.missing, "frontiers": [_twin(one) for one in frontiers]})
        images |= {file: frontier_png(frontiers)} if frontiers else {}
    return Document(", ".join(names), sections, {"sweeps": twin}, images)


def _twin(one: Frontier) -> dict[str, Any]:
    neighbours = [asdict(two) | {"asr": two.asr.to_json(), "nrr": two.nrr.to_json()} for two in one.neighbours]
    return asdict(one) | {"neighbours": neighbours}


def _title(one: Frontier) -> str:
    return f"ASR: {measure_name(one.asr)}; NRR: {measure_name(one.nrr)}"


def _reasons(one: Frontier) -> list[str]:
    """Why its configurations have no numbers, each reason once."""
    every = [share.withheld for each in one.points for share in (each.asr, each.nrr)]
    return list(dict.fromkeys(reason for reason in every if reason))


def _blocks(sweep: SweepRecord, frontiers: Sequence[Frontier], prefix: str, file: str) -> list[Block]:
    card = sweep.manifest.get("ablation")
    blocks: list[Block] = [Facts({key: card[key] for key in ("question", "expected", "paper")})] if card else []
    if frontiers:
        blocks += [Figures([], file, "ASR against NRR"), Text(_PICTURE, "note")]
    else:
        blocks.append(Text("No cell has numbers yet."))
    for place, one in enumerate(frontiers):
        title = _title(one)
        spreads = pooled_note([("ASR", one.asr_spread), ("NRR", one.nrr_spread)])
        drawing = Drawing(frontier_svg(one, f"{prefix}-{place}", mark_titles(one)))
        other = [] if one.same_requests else [Text(_OTHER_REQUESTS, "warning")]
        blocks += [Heading(title), *other, Text(spreads or ONE_SEED, "note"), drawing]
        if one.neighbours:
            header = ["From", "To", "Change of ASR", "Change of NRR", "Reading"]
            steps: list[list[Shown]] = [
                [two.first, two.second, _change(two.asr), _change(two.nrr), reading(two)] for two in one.neighbours
            ]
            blocks += [Text(_NEIGHBOURS, "note"), Table(f"Neighbours on the front: {title}", header, steps)]
        seeds = [own for own in one.seeds if own.seed is not None]  # the untrained model has none, and stands above
        points = [*one.points, *(seeds if len(one.seeds) > len(one.points) else [])]
        header = ["Configuration", "Seed", "ASR", "NRR", "Standing"]
        rows: list[list[Shown]] = [
            [of.label, seed_words(of, one), frontier_cell(of.asr), frontier_cell(of.nrr), standing(of, one)]
            for of in points
        ]
        blocks += [Text(_RATES, "note"), Table(f"Rates: {title}", header, rows)]
    return [*blocks, Heading("Not shown"), Bullets(sweep.missing)]


def frontier_cell(share: Share) -> Cell:
    """The rate with its 95 % interval, or the lowest and highest seed, and scored of asked; or why it is not given."""
    if share.value is None:
        return Cell(ABSENT.value, share.withheld or "")
    note = "borrowed" if share.interval == "borrowed" else ""
    if share.low is None and len(share.per_seed) > 1:
        note = f"seeds {RATE.span(min(share.per_seed), max(share.per_seed))}"
    return RATE.cell(share.value, share.low, share.high, note, f"n {share.n}/{share.asked}")


def _change(change: Change) -> Cell:
    """With the adjusted p where there is one, or why there is no number."""
    if change.difference is None:
        return Cell(ABSENT.value, change.withheld or "")
    tested = change.p is not None and change.p_holm is not None
    return change_cell(change, f"p {change.p:.2g}, Holm {change.p_holm:.2g}" if tested else "")


def reading(two: Neighbours) -> str:
    """What the intervals allow to say of the step from one neighbour to the next."""
    known = [(name, one.low, one.high) for name, one in (("ASR", two.asr), ("NRR", two.nrr))]
    clear = [name for name, low, high in known if low is not None and high is not None and not low <= 0 <= high]
    if clear:
        return f"clear in {' and '.join(clear)}"
    return "not known" if any(low is None for _, low, _ in known) else "no clear difference"


def standing(each: Point, one: Frontier) -> str:
    """Whether a configuration is on the front, or what beats it; nothing for a single seed."""
    if each.seed is not None:
        return ""
    if not each.known:
        return "not drawn"
    beaten = one.dominated_by.get(each.label)
    return "dominated by " + "; ".join(beaten) if beaten else "on the front"


def seed_words(each: Point, one: Frontier) -> str:
    """The seed, or over how many the mean is."""
    seeds = [own.seed for own in one.seeds if own.label == each.label]
    if each.seed is None and len(seeds) > 1:
        return f"mean of {len(seeds)}"
    seed = seeds[0] if each.seed is None else each.seed
    return "" if seed is None else str(seed)


def mark_titles(one: Frontier) -> dict[str, str]:
    """Id of each mark -> configuration, rates with n and intervals, and whether another one beats it."""
    titles: dict[str, str] = {}
    for i, each in enumerate(each for each in one.points if each.known):
        # of two configurations with one label the later one is drawn
        seeds = [seed for seed in one.seeds if seed.label == each.label][-len(each.asr.per_seed) :]
        for gid, mark in {f"point-{i}": each, **{f"seed-{i}-{j}": seed for j, seed in enumerate(seeds)}}.items():
            seed, told = seed_words(mark, one), standing(mark, one)
            words = f", {seed}" if seed.startswith("mean") else f", seed {seed}" if seed else ""
            rates = f"ASR {frontier_cell(mark.asr)}, NRR {frontier_cell(mark.nrr)}"
            titles[gid] = f"{mark.label}{words}: {rates}{told and '; ' + told}"
    return titles


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
        filled: Any = {} if each.label in one.front else HOLLOW
        point(axes, x, y, *ends, **look | filled, zorder=3).set_gid(f"point-{i}")
        marks += [(x, y), *places]
        lines += [((ends[0][0], y), (ends[0][1], y))] if ends[0] else []
        lines += [((x, ends[1][0]), (x, ends[1][1]))] if ends[1] else []
    _limits(known, axes)
    axes.set_title(measure_name(one.asr))
    x_label = f"Refused of {measure_name(one.nrr)} (over-refusal, 1 - NRR): better to the left"
    label_percent(axes, x_label, "Harmful requests refused (1 - ASR): better above")
    legend_below(axes, _legend(known, one.front), columns=4)
    names = [(each.label, _mean(each), _look(each, i)["color"]) for i, each in enumerate(known)]
    return lambda: place_labels(axes, names, marks, [*pairwise(front), *lines], fontsize=10)


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
        handles.append(key("another one is as good or better in both", **grey | HOLLOW))
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
