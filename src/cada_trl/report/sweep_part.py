"""What the report says of sweeps: each picture of ASR against NRR, its front, the tests along it and its table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
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
from cada_trl.report.drawing import drawn, saved
from cada_trl.report.frontier import Frontier, Neighbours, Point, frontier
from cada_trl.report.frontier_picture import FONT, SIZE, UNTRAINED, PlotPoint, draw_points, label_points
from cada_trl.report.names import pooled_note
from cada_trl.report.rates import change_cell
from cada_trl.report.records import SweepRecord
from cada_trl.report.shares import Share, axes_shown, measure_name, measured

ONE_SEED = "One seed per configuration: its interval is that of one model over requests, not of further seeds."
_PICTURE = (
    "A large mark is a configuration, the mean over its seeds, which are its small marks; filled marks are on the "
    "Pareto front: no other configuration has a lower ASR and at least its NRR, or a higher NRR and at most its ASR. "
    "The star is the model before training. Bars are 95 % intervals. The picture shows what was refused: 1 less ASR "
    "upwards, 1 less NRR to the right. Point at a mark for its numbers; the tables hold the same."
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


def sweep_part(sweeps: Sequence[SweepRecord]) -> Document:
    """The sweeps' sections, with a frontier-<sweep>.png beside them (frontier.png for one)."""
    frontiers = [_frontiers(sweep) for sweep in sweeps]
    files = ["frontier.png"] if len(sweeps) == 1 else [f"frontier-{sweep.name}.png" for sweep in sweeps]
    return Document(
        ", ".join(sweep.name for sweep in sweeps),
        [
            Section(f"Sweep {sweep.name}", _blocks(sweep, own, f"sweep{number}", file), f"sweep{number}")
            for number, (sweep, own, file) in enumerate(zip(sweeps, frontiers, files, strict=True), start=1)
        ],
        {"sweeps": [_twin(sweep, own) for sweep, own in zip(sweeps, frontiers, strict=True)]},
        {file: frontier_png(own) for file, own in zip(files, frontiers, strict=True) if own},
    )


def _frontiers(sweep: SweepRecord) -> list[Frontier]:
    cells = [measured(cell) for cell in [*sweep.initial, *sweep.cells]]
    drawable = [frontier(cells, asr, nrr) for asr, nrr in axes_shown(cells)]
    return [one for one in drawable if one.front]


def _blocks(sweep: SweepRecord, frontiers: Sequence[Frontier], prefix: str, file: str) -> list[Block]:
    card = sweep.values.get("ablation")
    blocks: list[Block] = [Facts({key: card[key] for key in ("question", "expected", "paper")})] if card else []
    if frontiers:
        blocks += [Figures([], file, "ASR against NRR"), Text(_PICTURE, "note")]
    else:
        blocks.append(Text("No cell has numbers yet."))
    for place, one in enumerate(frontiers):
        title = f"ASR: {measure_name(one.asr)}; NRR: {measure_name(one.nrr)}"
        spreads = pooled_note([("ASR", one.asr_spread), ("NRR", one.nrr_spread)])
        blocks += [Heading(title), Text(spreads or ONE_SEED, "note"), Drawing(frontier_svg(one, f"{prefix}-{place}"))]
        blocks += _neighbours(title, one)
        several = len(one.seeds) > len(one.points)
        rows = [_row(point, one) for point in [*one.points, *(one.seeds if several else [])]]
        header = ("Configuration", "Seed", "ASR", "NRR", "Standing")
        blocks += [Text(_RATES, "note"), Table(f"Rates: {title}", header, rows)]
    return [*blocks, Heading("Not shown"), Bullets(sweep.missing)]


def _neighbours(title: str, one: Frontier) -> list[Block]:
    rows: list[list[Shown]] = [
        [two.first, two.second, _change(two.asr), _change(two.nrr), reading(two)] for two in one.neighbours
    ]
    header = ("From", "To", "Change of ASR", "Change of NRR", "Reading")
    return [Text(_NEIGHBOURS, "note"), Table(f"Neighbours on the front: {title}", header, rows)] if rows else []


def _row(point: Point, one: Frontier) -> list[Shown]:
    return [
        point.label,
        seed_words(point, one),
        frontier_cell(point.asr),
        frontier_cell(point.nrr),
        standing(point, one),
    ]


def frontier_cell(share: Share) -> Cell:
    """The rate with its 95 % interval, or the lowest and highest seed, and scored of asked; or why it is not given."""
    if share.value is None:
        return Cell(ABSENT.value, share.withheld or "")
    notes = ["borrowed" if share.interval == "borrowed" else "", f"n {share.n}/{share.asked}"]
    if share.low is None and len(share.per_seed) > 1:
        notes[0] = f"seeds {RATE.span(min(share.per_seed), max(share.per_seed))}"
    return RATE.cell(share.value, share.low, share.high, *notes)


def _change(change: Change) -> Cell:
    """With the adjusted p where there is one, or why there is no number."""
    if change.difference is None:
        return Cell(ABSENT.value, change.withheld or "")
    tested = change.p is not None and change.p_holm is not None
    return change_cell(change, f"p {change.p:.2g}, Holm {change.p_holm:.2g}" if tested else "")


def reading(two: Neighbours) -> str:
    """What the intervals allow to say of the step from one neighbour to the next."""
    clear = [name for name, change in (("ASR", two.asr), ("NRR", two.nrr)) if _is_clear(change)]
    if not clear and (two.asr.low is None or two.nrr.low is None):
        return "not known"
    return f"clear in {' and '.join(clear)}" if clear else "no clear difference"


def _is_clear(change: Change) -> bool:
    return change.low is not None and change.high is not None and not change.low <= 0 <= change.high


def standing(point: Point, one: Frontier) -> str:
    """Whether a configuration is on the front, or what beats it; nothing for a single seed."""
    if point.seed is not None:
        return ""
    if not point.known:
        return "not drawn"
    beaten = one.dominated_by.get(point.label)
    return "dominated by " + "; ".join(beaten) if beaten else "on the front"


def seed_words(point: Point, one: Frontier) -> str:
    """The seed, or over how many the mean is."""
    seeds = [own.seed for own in one.seeds if own.label == point.label]
    if point.seed is None and len(seeds) > 1:
        return f"mean of {len(seeds)}"
    seed = seeds[0] if point.seed is None else point.seed
    return "" if seed is None else str(seed)


def frontier_svg(one: Frontier, prefix: str) -> str:
    """The picture to stand inside a page: its points say what they are under the pointer.

    Its ids begin with the prefix, so that several can stand there.
    """
    with drawn(SIZE, font=FONT) as figure:
        axes = figure.add_subplot()
        titles = draw(axes, one)
        figure.draw_without_rendering()
        label_points(axes, plot_points(one), one.front)
        svg = saved(figure, "svg").decode()
    svg = svg[svg.index("<svg") :]
    for gid, title in titles.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(title)}</title>', 1)
    # matplotlib counts ids from 1 in every picture
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def frontier_png(frontiers: Sequence[Frontier]) -> bytes:
    """All pictures in one PNG, one below the other: each keeps the width that its letters need."""
    with drawn((SIZE[0], SIZE[1] * len(frontiers)), dpi=150, font=FONT) as figure:
        panels = [figure.add_subplot(len(frontiers), 1, place) for place in range(1, len(frontiers) + 1)]
        for axes, one in zip(panels, frontiers, strict=True):
            draw(axes, one)
        figure.draw_without_rendering()
        for axes, one in zip(panels, frontiers, strict=True):
            label_points(axes, plot_points(one), one.front)
        return saved(figure, "png")


def draw(axes: Axes, one: Frontier) -> dict[str, str]:
    """Draw into the axes, without the labels; returns the id of each mark's group -> what it says under the pointer."""
    draw_points(
        axes,
        plot_points(one),
        one.front,
        f"Refused of {measure_name(one.nrr)} (over-refusal, 1 - NRR): better to the left",
        "Harmful requests refused (1 - ASR): better above",
    )
    axes.set_title(measure_name(one.asr), fontsize=11)
    titles = {}
    for i, point in enumerate(point for point in one.points if point.known):
        # of two configurations with one label the later one is drawn
        seeds = [seed for seed in one.seeds if seed.label == point.label][-len(point.asr.per_seed) :]
        titles[f"point-{i}"] = point_title(point, one)
        titles |= {f"seed-{i}-{j}": point_title(seed, one) for j, seed in enumerate(seeds)}
    return titles


def plot_points(one: Frontier) -> list[PlotPoint]:
    """The configurations with both numbers, in the sweep's order; each has a colour of its own.

    A point's seeds are on the pairs that all of them have, so that the mean is that of the tables.
    """
    return [
        PlotPoint(
            point.label,
            point.label if point.trained else UNTRAINED,
            [1 - value for value in point.nrr.per_seed],
            [1 - value for value in point.asr.per_seed],
            _refused(point.nrr),
            _refused(point.asr),
        )
        for point in one.points
        if point.known
    ]


def _refused(share: Share) -> tuple[float, float] | None:
    """The interval of what is left of 1."""
    return None if share.low is None or share.high is None else (1 - share.high, 1 - share.low)


def point_title(point: Point, one: Frontier) -> str:
    """What a point says: configuration, rates with n and intervals, and whether another one beats it."""
    seed = seed_words(point, one)
    seed = f", {seed}" if seed.startswith("mean") else f", seed {seed}" if seed else ""
    told = standing(point, one)
    rates = f"ASR {frontier_cell(point.asr)}, NRR {frontier_cell(point.nrr)}"
    return f"{point.label}{seed}: {rates}{told and '; ' + told}"


def _twin(sweep: SweepRecord, frontiers: Sequence[Frontier]) -> dict[str, Any]:
    return {
        "sweep": sweep.name,
        "missing": sweep.missing,
        "frontiers": [
            asdict(one)
            | {
                "neighbours": [
                    {"first": two.first, "second": two.second, "asr": two.asr.to_json(), "nrr": two.nrr.to_json()}
                    for two in one.neighbours
                ]
            }
            for one in frontiers
        ],
    }
