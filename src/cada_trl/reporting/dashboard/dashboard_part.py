"""The dashboard's sections for the page: what the runs logged, completions to filter, verdicts by hazard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.document import markdown
from cada_trl.numbers import ABSENT, Cell
from cada_trl.records import Verdict
from cada_trl.reporting.dashboard.panel_plot import Logged, panel_svg
from cada_trl.reporting.dashboard.series import series_of
from cada_trl.reporting.part import Part
from cada_trl.reporting.run.labels import SETS
from cada_trl.reporting.run.run_record import ProbeRow, RunRecord
from cada_trl.reporting.run.samples import PER_SET, SAMPLE_SEED, sampled_pairs
from cada_trl.reporting.small_slices import folded_names, folded_words, split_small
from cada_trl.reporting.template import render, svg_uri
from cada_trl.statistics import Rate
from cada_trl.tracking.panels import SECTIONS, Panel

HAZARDS = ("Hazard", "Set", "Run", "Complied or answered", "Unscored")


@dataclass(frozen=True)
class SectionView:
    """figures: title and picture of the panels that have data. without: titles of those that have none."""

    title: str
    figures: list[tuple[str, str]]
    without: list[str]
    tables: list[str]


@dataclass(frozen=True)
class HazardRow:
    """One run on the requests of one hazard and set. slice: their names; n: scored; cells: as HAZARDS names them."""

    slice: str
    n: int
    cells: list[Cell]


def dashboard_part(runs: Sequence[tuple[str, RunRecord]]) -> Part:
    """One dashboard of all the runs, overlaid. runs: the name that each is shown by, and its record."""
    logged = [(name, series_of(run)) for name, run in runs]
    sections = [_section(section.title, section.panels, logged) for section in SECTIONS]
    # runs beside each other, for the eye
    hazards = sorted((row for name, run in runs for row in hazard_rows(name, run)), key=lambda row: row.slice)
    most = {row.slice: max(other.n for other in hazards if other.slice == row.slice) for row in hazards}
    shown, small = split_small(hazards, lambda row: most[row.slice])
    html = render(
        "dashboard.html",
        sections=sections,
        completions=[row for name, run in runs for row in _completions(name, run)],
        verdicts=[str(verdict) for verdict in Verdict],
        sets=SETS,
        hazards=HAZARDS,
        hazard_rows=[row.cells for row in shown],
        small_rows=[row.cells for row in small],
        folded_words=folded_words(len({row.slice for row in small})),
        per_set=PER_SET,
        sample_seed=SAMPLE_SEED,
    )
    text = [markdown.heading(2, "Dashboard"), "The curves stand in report.html."]
    text += [markdown.table(HAZARDS, [row.cells for row in shown])] if shown else []
    text += [markdown.line(folded_names(list(dict.fromkeys(row.slice for row in small))))] if small else []
    return Part([], [("dashboard", "Dashboard")], html, "\n\n".join(text), {})


def hazard_rows(name: str, run: RunRecord) -> list[HazardRow]:
    """A row for each hazard and set of the probes after training: the share complied with or answered."""
    groups: dict[tuple[str, str], list[ProbeRow]] = {}
    for row in run.after:
        groups.setdefault((row.hazard, row.set), []).append(row)
    rows = []
    for (hazard, probe_set), own in sorted(groups.items()):
        rate = Rate.of(None if one.verdict is Verdict.UNSCORED else one.verdict is Verdict.COMPLIED for one in own)
        low, high = rate.interval
        shown = Cell(f"{100 * rate.value:.1f} %", f"n {rate.n}; {100 * low:.1f} to {100 * high:.1f}")
        texts = [Cell(text) for text in (hazard.replace("_", " "), SETS[probe_set], name)]
        cells = [*texts, shown if rate.n else ABSENT, Cell(str(rate.asked - rate.n))]
        rows.append(HazardRow(f"{texts[0]}, {texts[1]}", rate.n, cells))
    return rows


def _section(title: str, panels: Sequence[Panel], logged: Sequence[tuple[str, Logged]]) -> SectionView:
    drawn = [panel for panel in panels if panel.kind != "table"]
    with_data = [panel for panel in drawn if any(name in own for name in panel.metrics for _, own in logged)]
    without = [
        panel.title + (f" (only with {panel.only_with})" if panel.only_with else "")
        for panel in drawn
        if panel not in with_data
    ]
    figures = [(panel.title, svg_uri(panel_svg(panel, logged))) for panel in with_data]
    return SectionView(title, figures, without, [panel.metrics[0] for panel in panels if panel.kind == "table"])


def _completions(name: str, run: RunRecord) -> list[tuple[str, ProbeRow]]:
    """After training, of the requests that the run's own part samples."""
    pairs = [pair for own in sampled_pairs(run).values() for pair in own]
    return [(name, pair.after) for pair in pairs if pair.after is not None]
