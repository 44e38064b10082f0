"""What runs logged: the curves and probes of a run's part, and the dashboard of tracking/metrics.py with its tables.

In a picture colour says the run and dashes the metric; of one run, colour says the metric too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cada_trl.document.blocks import Block, Choices, Document, Figures, Fold, Heading, Section, Shown, Text
from cada_trl.numbers import RATE
from cada_trl.records import Verdict
from cada_trl.report.drawing import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    ORANGE,
    SHEET_DPI,
    Draw,
    key,
    legend_below,
    picture,
    point,
    shares,
    turn,
)
from cada_trl.report.names import SETS, labels, measure_label, measures
from cada_trl.report.rates import SliceRow, slice_tables
from cada_trl.report.run_record import RunRecord, Series, series_of
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, sampled_pairs
from cada_trl.report.summary import rate_of
from cada_trl.statistics.intervals import Rate
from cada_trl.tracking.metrics import PROBE_SETS, SECTIONS, Panel, metric, train_panel
from cada_trl.tracking.mirror import hazard_slices

_VERDICTS = ("reasoned_refusal_frac", "direct_refusal_frac", "comply_frac", "unscored_frac")
CURVES = {  # caption -> panel
    "Reward and baseline by step": train_panel("Reward of the rollouts", "reward_mean", "baseline"),
    "Shares of verdicts on rollouts by step": train_panel("Verdicts on rollouts", *_VERDICTS),
    "KL to the initial model by step, in nats per completion": train_panel("KL to the initial model", "kl_nats"),
    "Completion length in tokens and share truncated by step": train_panel(
        "Completion length", "completion_tok", "truncated_frac"
    ),
}
METRICS = frozenset(name for panel in CURVES.values() for name in panel.metrics)  # what stands here stands once
_PROBES = "Probe shares before and after training with 95 % intervals"
_SHORT = {"held_out": "held-out hazards", "xstest_safe": "XSTest safe"}
Logged = Sequence[tuple[str, Series]]  # the name that a run is shown by, and what it logged
_NOTE = (
    f"After the training, up to {PER_SET} requests per set and run, drawn at random (seed {SAMPLE_SEED}), not "
    "picked. Clear a box to hide its rows. What a model wrote to harmful requests may be offensive."
)
Runs = Sequence[tuple[str, RunRecord]]


def curves(runs: Sequence[RunRecord]) -> tuple[list[tuple[str, bytes]], bytes]:
    """Caption and SVG of each panel, for a page that lays them out itself; and all of them as one PNG."""
    logged = [(name, series_of(run)) for name, run in zip(labels(runs), runs, strict=True)]
    draws: dict[str, Draw] = {
        **{caption: partial(draw_panel, panel=panel, runs=logged) for caption, panel in CURVES.items()},
        _PROBES: partial(draw_probes, runs=runs),
    }
    sheet = picture(list(draws.values()), (9, 12), "png", columns=2, dpi=SHEET_DPI)
    return [(caption, picture([draw])) for caption, draw in draws.items()], sheet


def draw_panel(axes: Axes, panel: Panel, runs: Logged) -> None:
    """A panel of the dashboard; an absent value is no point and never a 0."""
    axes.set_title(panel.title)
    handles = (_scatter if panel.kind == "scatter" else _lines)(axes, panel, runs)
    names = [name for name, _ in runs] if len(runs) > 1 else []
    legend_below(axes, handles + [key(name, color=turn(COLOURS, i), linewidth=4) for i, name in enumerate(names)])


def _lines(axes: Axes, panel: Panel, runs: Logged) -> list[Any]:
    """What is in another unit than the first metric has its axis at the right."""
    units, alone = [metric(name).unit for name in panel.metrics], len(runs) == 1
    sides = {unit: axes if unit == units[0] else axes.twinx() for unit in dict.fromkeys(units)}
    for place, (name, unit) in enumerate(zip(panel.metrics, units, strict=True)):
        for index, (_, logged) in enumerate(runs):
            if name in logged:
                steps, values = zip(*logged[name], strict=True)
                style: Any = {"color": turn(COLOURS, place if alone else index), "linestyle": turn(DASHES, place)}
                few: Any = {"marker": "o", "markersize": 4} if len(steps) < 10 else {}
                sides[unit].plot(steps, values, linewidth=1.3, **style, **few)
    for unit, side in sides.items():
        side.set_ylabel("" if unit == "1" else unit)
        if side is not axes:
            side.grid(False)
            side.spines["right"].set_visible(True)
        if unit == "fraction":
            shares(side, "y")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not any(side.lines for side in sides.values()):
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
    stems = [name.partition("/")[2].removesuffix("_frac").replace("_", " ") for name in panel.metrics]
    return [
        key(stem, color=turn(COLOURS, place) if alone else GREY, linestyle=turn(DASHES, place))
        for place, stem in enumerate(stems)
        if len(stems) > 1
    ]


def _scatter(axes: Axes, panel: Panel, runs: Logged) -> list[Any]:
    x, y = panel.metrics
    for index, (_, logged) in enumerate(runs):
        if x in logged and y in logged:
            marker = turn(MARKERS, index // len(COLOURS))
            axes.plot(logged[x][-1][1], logged[y][-1][1], marker, color=turn(COLOURS, index), markersize=8)
    for name, set_label in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
        _, probe_set, measure = name.split("/")
        set_label(f"{SETS[probe_set]}: {measure_label(probe_set, measure)}, fraction")
    shares(axes)
    return []


def draw_probes(axes: Axes, runs: Sequence[RunRecord]) -> None:
    present = {row.set for run in runs for row in [*run.before, *run.after]}
    shown = [probe_set for probe_set in PROBE_SETS if probe_set in present]
    rows = [(probe_set, measure) for probe_set in shown for measure in measures(probe_set)[:2]]  # the headline ones
    stages: dict[str, Any] = {"before": {"color": ORANGE, "marker": "s"}, "after": {"color": BLUE, "marker": "o"}}
    for position, (probe_set, measure) in enumerate(rows):
        for index, run in enumerate(runs):
            y = position + (index - (len(runs) - 1) / 2) * 0.3 / len(runs)
            for shift, (stage, style) in zip((-0.2, 0.2), stages.items(), strict=True):
                rate = rate_of([row for row in getattr(run, stage) if row.set == probe_set], measure)
                if rate["rate"] is not None:
                    point(axes, rate["rate"], y + shift, (rate["low"], rate["high"]), markersize=5, **style)
    names = [f"{_SHORT.get(probe_set, SETS[probe_set])}:\n{measure_label(probe_set, one)}" for probe_set, one in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    shares(axes, "x")
    axes.set_title("Probes before and after, 95 % intervals")
    axes.set_xlabel("share of requests")
    legend_below(axes, [key(stage, linestyle="", **style) for stage, style in stages.items()] if rows else [])


def dashboard_part(runs: Runs, elsewhere: Collection[str] = ()) -> Document:
    """One dashboard of all the runs, by name, overlaid; a panel of nothing but what stands `elsewhere` is left out."""
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
    header, rows = ("Request", "Verdict", "Hazard", "Run", "Analysis", "Final response"), []
    for name, run in runs:
        for row in [row for pairs in sampled_pairs(run).values() for _, row in pairs if row]:
            texts = (row.analysis or "(none)", row.final_response or "(empty)")
            cells = [row.request, str(row.verdict), row.hazard.replace("_", " "), name, *texts]
            rows.append(((f"v-{row.verdict}", f"s-{row.set}"), cells))
    return Choices("Completions", boxes, header, rows)


def hazard_rows(name: str, run: RunRecord) -> list[SliceRow]:
    """A row for each hazard and set of the probes after training: the share complied with or answered."""
    rows = []
    for _, probe_set, hazard, asked, refused, complied, _ in hazard_slices(0, [row.model_dump() for row in run.after]):
        rate = Rate(complied, refused + complied, asked)
        cells: dict[str, Shown] = {
            "Hazard": hazard.replace("_", " "),
            "Set": SETS[probe_set],
            "Run": name,
            "Complied or answered": RATE.cell(rate.value if rate.n else None, *rate.interval, f"n {rate.n}"),
            "Unscored": str(rate.asked - rate.n),
        }
        rows.append(SliceRow(f"{cells['Hazard']}, {cells['Set']}", rate.n, cells))
    return rows
