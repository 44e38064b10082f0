"""The dashboard of tracking/panels.py on the page: what the runs logged, completions to filter, verdicts by hazard.

Colour says the run and dashes the metric; of one run, colour says the metric.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cada_trl.document.blocks import Block, Choices, Document, Figures, Fold, Heading, Section, Table, Text
from cada_trl.numbers import RATE, Cell
from cada_trl.records import Verdict
from cada_trl.report.drawing import COLOURS, DASHES, GREY, MARKERS, drawn, key, legend_below, saved, shares, turn
from cada_trl.report.names import SETS, measure_label
from cada_trl.report.rates import folded_names, folded_words, split_small
from cada_trl.report.run_record import ProbeRow, RunRecord, series_of
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, sampled_pairs
from cada_trl.statistics import Rate
from cada_trl.tracking.panels import SECTIONS, Panel

HAZARDS = ("Hazard", "Set", "Run", "Complied or answered", "Unscored")
Runs = Sequence[tuple[str, RunRecord]]
Logged = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class HazardRow:
    """One run on the requests of one hazard and set. slice: their names; n: scored; cells: as HAZARDS names them."""

    slice: str
    n: int
    cells: list[str | Cell]


def dashboard_part(runs: Runs, elsewhere: Collection[str] = ()) -> Document:
    """One dashboard of all the runs, overlaid. runs: the name that each is shown by, and its record.

    elsewhere: metrics that stand on the page already; a panel of nothing else is left out.
    """
    logged = [(name, series_of(run)) for name, run in runs]
    hazards, hazards_in_brief = _hazards(runs)
    blocks: list[Block] = []
    for section in SECTIONS:
        blocks += [Heading(section.title), *_figures(section.title, section.panels, logged, elsewhere)]
        tables = [panel.metrics[0] for panel in section.panels if panel.kind == "table"]
        blocks += _completions(runs) if "completions" in tables else []
        blocks += hazards if "hazard_slices" in tables else []
    titles = ", ".join(section.title for section in SECTIONS).lower()
    brief = [Text("The curves stand in report.html."), *hazards_in_brief]
    fold = Fold(f"Every panel by section, all runs overlaid: {titles}", blocks, brief)
    return Document("", [Section("Dashboard", [fold], "dashboard")])


def _figures(
    section: str, panels: Sequence[Panel], logged: Sequence[tuple[str, Logged]], elsewhere: Collection[str]
) -> list[Block]:
    panels = [panel for panel in panels if panel.kind != "table"]
    above = [panel for panel in panels if set(panel.metrics) <= set(elsewhere)]
    with_data = [panel for panel in panels if any(name in own for name in panel.metrics for _, own in logged)]
    pictures = [(f"{section}: {panel.title}", panel_svg(panel, logged)) for panel in with_data if panel not in above]
    without = [
        panel.title + (f" (only with {panel.only_with})" if panel.only_with else "")
        for panel in panels
        if panel not in with_data and panel not in above
    ]
    blocks: list[Block] = [Figures(pictures)] if pictures else []
    blocks += [Text(f"Under Curves: {'; '.join(panel.title for panel in above)}.", "note")] if above else []
    return blocks + ([Text(f"Nothing logged for: {'; '.join(without)}.", "note")] if without else [])


def _completions(runs: Runs) -> list[Block]:
    """After training, of the requests that the runs' own sections sample."""
    note = (
        f"After the training, up to {PER_SET} requests per set and run, drawn at random (seed {SAMPLE_SEED}), not "
        "picked. Clear a box to hide its rows. What a model wrote to harmful requests may be offensive."
    )
    boxes = {"v": {str(verdict): str(verdict) for verdict in Verdict}, "s": SETS}
    rows = [
        ((f"v-{row.verdict}", f"s-{row.set}"), _completion(name, row))
        for name, run in runs
        for pairs in sampled_pairs(run).values()
        for row in (pair.after for pair in pairs)
        if row is not None
    ]
    header = ("Request", "Verdict", "Hazard", "Run", "Analysis", "Final response")
    return [Text(note, "note"), Choices("Completions", boxes, header, rows)]


def _completion(name: str, row: ProbeRow) -> list[str]:
    hazard = row.hazard.replace("_", " ")
    return [row.request, str(row.verdict), hazard, name, row.analysis or "(none)", row.final_response or "(empty)"]


def _hazards(runs: Runs) -> tuple[list[Block], list[Block]]:
    """Their rows as the page folds them, and in brief."""
    # runs beside each other, for the eye
    rows = sorted((row for name, run in runs for row in hazard_rows(name, run)), key=lambda row: row.slice)
    most = {row.slice: max(other.n for other in rows if other.slice == row.slice) for row in rows}
    shown, small = split_small(rows, lambda row: most[row.slice])
    names = list(dict.fromkeys(row.slice for row in small))
    page: list[Block] = []
    brief: list[Block] = []
    if shown:
        brief.append(Table("Probes by hazard", HAZARDS, [row.cells for row in shown]))
        page.append(Fold(f"{len(shown)} rows", brief[:1]))
    if small:
        table = Table("Probes by hazard, small slices", HAZARDS, [row.cells for row in small])
        page.append(Fold(folded_words(len(names)), [table]))
        brief.append(Text(folded_names(names)))
    return page, brief


def hazard_rows(name: str, run: RunRecord) -> list[HazardRow]:
    """A row for each hazard and set of the probes after training: the share complied with or answered."""
    groups: dict[tuple[str, str], list[ProbeRow]] = {}
    for row in run.after:
        groups.setdefault((row.hazard, row.set), []).append(row)
    rows = []
    for (hazard, probe_set), probed in sorted(groups.items()):
        rate = Rate.of(None if one.verdict is Verdict.UNSCORED else one.verdict is Verdict.COMPLIED for one in probed)
        texts = [hazard.replace("_", " "), SETS[probe_set], name]
        cell = RATE.cell(rate.value if rate.n else None, *rate.interval, f"n {rate.n}")
        rows.append(HazardRow(f"{texts[0]}, {texts[1]}", rate.n, [*texts, cell, str(rate.asked - rate.n)]))
    return rows


def panel_svg(panel: Panel, runs: Sequence[tuple[str, Logged]]) -> bytes:
    """The panel as a picture. runs: name and series of each."""
    with drawn((5.2, 3.6), font=9) as figure:
        axes = figure.add_subplot()
        handles = _scatter(axes, panel, runs) if panel.kind == "scatter" else _lines(axes, panel, runs)
        if len(runs) > 1:
            handles += [key(name, color=turn(COLOURS, index), linewidth=4) for index, (name, _) in enumerate(runs)]
        legend_below(axes, handles, 0.2)
        axes.set_title(panel.title, fontsize=10)
        return saved(figure, "svg")


def _lines(axes: Axes, panel: Panel, runs: Sequence[tuple[str, Logged]]) -> list[Any]:
    """Returns the metrics' entries of the legend, where there are several."""
    alone = len(runs) == 1
    for index, (_, logged) in enumerate(runs):
        for place, name in enumerate(panel.metrics):
            if name in logged:
                steps, values = zip(*logged[name], strict=True)
                style: Any = {"color": turn(COLOURS, place if alone else index), "linestyle": turn(DASHES, place)}
                axes.plot(steps, values, linewidth=1.3, marker="o" if len(steps) < 10 else "", markersize=4, **style)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(panel.unit)
    if panel.unit == "fraction":
        shares(axes, "y")
    return [
        key(name.partition("/")[2], color=turn(COLOURS, place) if alone else GREY, linestyle=turn(DASHES, place))
        for place, name in enumerate(panel.metrics)
        if len(panel.metrics) > 1
    ]


def _scatter(axes: Axes, panel: Panel, runs: Sequence[tuple[str, Logged]]) -> list[Any]:
    x, y = panel.metrics
    for index, (_, logged) in enumerate(runs):
        if x in logged and y in logged:
            marker = turn(MARKERS, index // len(COLOURS))
            axes.plot(logged[x][-1][1], logged[y][-1][1], marker, color=turn(COLOURS, index), markersize=8)
    axes.set_xlabel(_in_words(x))
    axes.set_ylabel(_in_words(y))
    shares(axes)
    return []


def _in_words(probed: str) -> str:
    _, probe_set, measure = probed.split("/")
    return f"{SETS[probe_set]}: {measure_label(probe_set, measure)}, fraction"
