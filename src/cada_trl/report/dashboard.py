"""The dashboard of tracking/panels.py on the page: what the runs logged, completions to filter, verdicts by hazard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from cada_trl.document.blocks import Block, Choices, Document, Figures, Fold, Heading, Section, Shown, Text
from cada_trl.numbers import RATE
from cada_trl.records import Verdict
from cada_trl.report.curves import Logged, draw_panel
from cada_trl.report.drawing import picture
from cada_trl.report.names import SETS
from cada_trl.report.rates import SliceRow, slice_tables
from cada_trl.report.run_record import ProbeRow, RunRecord, series_of
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, sampled_pairs
from cada_trl.statistics import Rate
from cada_trl.tracking.panels import SECTIONS, Panel

_NOTE = (
    f"After the training, up to {PER_SET} requests per set and run, drawn at random (seed {SAMPLE_SEED}), not "
    "picked. Clear a box to hide its rows. What a model wrote to harmful requests may be offensive."
)
Runs = Sequence[tuple[str, RunRecord]]


def dashboard_part(runs: Runs, elsewhere: Collection[str] = ()) -> Document:
    """One dashboard of all the runs, overlaid. runs: the name that each is shown by, and its record.

    elsewhere: metrics that stand on the page already; a panel of nothing else is left out.
    """
    logged = [(name, series_of(run)) for name, run in runs]
    # runs beside each other, for the eye
    rows = sorted((row for name, run in runs for row in hazard_rows(name, run)), key=lambda row: row.slice)
    shown, small, line = slice_tables("Probes by hazard", rows)
    blocks: list[Block] = []
    for section in SECTIONS:
        blocks += [Heading(section.title), *_figures(section.title, section.panels, logged, elsewhere)]
        tables = [panel.metrics[0] for panel in section.panels if panel.kind == "table"]
        blocks += [Text(_NOTE, "note"), _completions(runs)] if "completions" in tables else []
        if "hazard_slices" in tables:
            blocks += [*(Fold(f"{len(table.rows)} rows", [table]) for table in shown), *small]
    titles = ", ".join(section.title for section in SECTIONS).lower()
    brief: list[Block] = [Text("The curves stand in report.html."), *shown, *([Text(line)] if line else [])]
    fold = Fold(f"Every panel by section, all runs overlaid: {titles}", blocks, brief)
    return Document("", [Section("Dashboard", [fold], "dashboard")])


def _figures(section: str, panels: Sequence[Panel], runs: Logged, elsewhere: Collection[str]) -> list[Block]:
    pictures, above, without = [], [], []
    for panel in panels:
        if panel.kind == "table":
            continue
        if set(panel.metrics) <= set(elsewhere):
            above.append(panel.title)
        elif any(name in own for name in panel.metrics for _, own in runs):
            svg = picture([partial(draw_panel, panel=panel, runs=runs)])
            pictures.append((f"{section}: {panel.title}", svg))
        else:
            without.append(panel.title + (f" (only with {panel.only_with})" if panel.only_with else ""))
    told = {"Under Curves": above, "Nothing logged for": without}
    notes = [Text(f"{what}: {'; '.join(titles)}.", "note") for what, titles in told.items() if titles]
    return [*([Figures(pictures)] if pictures else []), *notes]


def _completions(runs: Runs) -> Block:
    """After training, of the requests that the runs' own sections sample."""
    boxes = {"v": {str(verdict): str(verdict) for verdict in Verdict}, "s": SETS}
    rows = [
        ((f"v-{row.verdict}", f"s-{row.set}"), _completion(name, row))
        for name, run in runs
        for pairs in sampled_pairs(run).values()
        for _, row in pairs
        if row is not None
    ]
    header = ("Request", "Verdict", "Hazard", "Run", "Analysis", "Final response")
    return Choices("Completions", boxes, header, rows)


def _completion(name: str, row: ProbeRow) -> list[str]:
    hazard = row.hazard.replace("_", " ")
    return [row.request, str(row.verdict), hazard, name, row.analysis or "(none)", row.final_response or "(empty)"]


def hazard_rows(name: str, run: RunRecord) -> list[SliceRow]:
    """A row for each hazard and set of the probes after training: the share complied with or answered."""
    groups: dict[tuple[str, str], list[ProbeRow]] = {}
    for row in run.after:
        groups.setdefault((row.hazard, row.set), []).append(row)
    rows = []
    for (hazard, probe_set), probed in sorted(groups.items()):
        rate = Rate.of(None if one.verdict is Verdict.UNSCORED else one.verdict is Verdict.COMPLIED for one in probed)
        cells: dict[str, Shown] = {
            "Hazard": hazard.replace("_", " "),
            "Set": SETS[probe_set],
            "Run": name,
            "Complied or answered": RATE.cell(rate.value if rate.n else None, *rate.interval, f"n {rate.n}"),
            "Unscored": str(rate.asked - rate.n),
        }
        rows.append(SliceRow(f"{cells['Hazard']}, {cells['Set']}", rate.n, cells))
    return rows
