"""What the report says of sweeps: each picture of ASR against NRR, its front, the tests along it and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from cada_trl.document import markdown
from cada_trl.numbers import Cell
from cada_trl.reporting.part import Part
from cada_trl.reporting.pooled_words import pooled_note
from cada_trl.reporting.sweep.answers import axes_shown, measure_name, measured
from cada_trl.reporting.sweep.cells import change_cell, reading, seed_words, share_cell, standing
from cada_trl.reporting.sweep.frontier import Frontier, Point, frontier
from cada_trl.reporting.sweep.frontier_plot import frontier_png, frontier_svg
from cada_trl.reporting.sweep.sweep_record import SweepRecord
from cada_trl.reporting.template import render

NEIGHBOURS = ("From", "To", "Change of ASR", "Change of NRR", "Reading")
ONE_SEED = "One seed a configuration: its interval is that of one model over requests, not of further seeds."
TABLE = ("Configuration", "Seed", "ASR", "NRR", "Standing")


@dataclass(frozen=True)
class Picture:
    """One frontier, ready to show. seeds: how the intervals were pooled. neighbours, rows: in the named columns."""

    title: str
    seeds: str
    svg: Markup
    neighbours: list[list[Cell]]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class SweepView:
    """Everything the page says of one sweep."""

    name: str
    card: dict[str, Any] | None
    pictures: list[Picture]
    missing: list[str]


def sweep_part(sweeps: Sequence[SweepRecord]) -> Part:
    """The sweeps' sections, with a frontier-<sweep>.png beside them (frontier.png for one)."""
    found = [_frontiers(sweep) for sweep in sweeps]
    views = [
        SweepView(
            sweep.name,
            sweep.values.get("ablation"),
            [_picture(one, f"sweep{number}-{place}") for place, one in enumerate(frontiers)],
            sweep.missing,
        )
        for number, (sweep, frontiers) in enumerate(zip(sweeps, found, strict=True), start=1)
    ]
    names = ["frontier.png"] if len(sweeps) == 1 else [f"frontier-{sweep.name}.png" for sweep in sweeps]
    return Part(
        names=[sweep.name for sweep in sweeps],
        contents=[(f"sweep{number}", f"Sweep {view.name}") for number, view in enumerate(views, start=1)],
        html=render("sweep.html", views=views, neighbours=NEIGHBOURS, table=TABLE),
        markdown="\n\n".join(_markdown(view, image) for view, image in zip(views, names, strict=True)),
        twin={"sweeps": [_twin(sweep, own) for sweep, own in zip(sweeps, found, strict=True)]},
        images={name: frontier_png(own) for name, own in zip(names, found, strict=True) if own},
    )


def _frontiers(sweep: SweepRecord) -> list[Frontier]:
    cells = [measured(cell) for cell in [*sweep.initial, *sweep.cells]]
    found = [frontier(cells, asr, nrr) for asr, nrr in axes_shown(cells)]
    return [one for one in found if one.front]


def _picture(one: Frontier, prefix: str) -> Picture:
    rows = [_row(point, one) for point in one.points]
    several = len(one.seeds) > len(one.points)
    rows += [_row(point, one) for point in one.seeds] if several else []
    return Picture(
        f"ASR: {measure_name(one.asr)}; NRR: {measure_name(one.nrr)}",
        pooled_note([("ASR", one.asr_spread), ("NRR", one.nrr_spread)]) or ONE_SEED,
        frontier_svg(one, prefix),
        [
            [Cell(two.first), Cell(two.second), change_cell(two.asr), change_cell(two.nrr), Cell(reading(two))]
            for two in one.neighbours
        ],
        rows,
    )


def _row(point: Point, one: Frontier) -> list[Cell]:
    return [
        Cell(point.label),
        Cell(seed_words(point, one)),
        share_cell(point.asr),
        share_cell(point.nrr),
        Cell(standing(point, one)),
    ]


def _markdown(view: SweepView, image: str) -> str:
    parts = [markdown.heading(2, f"Sweep {view.name}")]
    if view.card:
        parts += [markdown.line(f"{key.capitalize()}: {view.card[key]}") for key in ("question", "expected", "paper")]
    parts += [f"![ASR against NRR]({image})"] if view.pictures else ["No cell has numbers yet."]
    for picture in view.pictures:
        parts += [markdown.heading(3, picture.title), markdown.line(picture.seeds)]
        parts += [markdown.table(NEIGHBOURS, picture.neighbours)] if picture.neighbours else []
        parts += [markdown.table(TABLE, picture.rows)]
    return "\n\n".join([*parts, markdown.heading(3, "Not shown"), markdown.bullets(view.missing)])


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
