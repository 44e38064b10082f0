"""What the report says of training runs: probes before and after, curves, samples, data; seeds averaged.

And the dashboard of tracking/metrics.py, all runs overlaid. In a picture colour says the run, with a marker or a
filling from the eighth on, and dashes the metric; of one run, colour says the metric too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cada_trl.data.rows import funnel_table
from cada_trl.document.blocks import (
    Block,
    Bullets,
    Choices,
    Document,
    Facts,
    Figures,
    Fold,
    Heading,
    PageOnly,
    Section,
    Shown,
    Table,
    Text,
)
from cada_trl.numbers import ABSENT, RATE, Cell
from cada_trl.records import Verdict
from cada_trl.report.caveats import judge_note, judge_part, run_not_run, tripped
from cada_trl.report.drawing import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    ORANGE,
    Draw,
    key,
    legend_below,
    picture,
    pictures_and_sheet,
    point,
    shares,
    turn,
)
from cada_trl.report.facts import card_blocks, card_note, run_facts, split_sizes, yaml_fold
from cada_trl.report.names import SETS, labels, measure_label, measures, probe_reading
from cada_trl.report.rates import SliceRow, slice_tables
from cada_trl.report.run_record import RunRecord, Series, series_of
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, pair_exchange, sampled_pairs
from cada_trl.report.summary import (
    across_runs,
    over_seeds_text,
    paired_cell,
    rate_of,
    seeds_note,
    seeds_scale,
    stage_cell,
    summarise,
)
from cada_trl.statistics.intervals import Rate
from cada_trl.tracking.manifest import scrub
from cada_trl.tracking.metrics import PROBE_SETS, SECTIONS, Panel, metric, train_panel
from cada_trl.tracking.mirror import hazard_slices

_PROBES = (
    "Rates are shares of the requests that the judge scored, with Wilson 95 % intervals and counts; differences are "
    "paired by request, with 95 % intervals. An unscored completion is never counted as either verdict."
)
_SAMPLES = (
    f"Up to {PER_SET} requests per set, drawn at random (seed {SAMPLE_SEED}), not picked. Harmful requests are folded: "
    "their completions are what the model wrote and may be offensive."
)
_SEEDS = (
    "sd is the sample standard deviation over the runs of one configuration; runs of different configurations are not "
    "averaged."
)
_DASHBOARD = (
    f"After the training, up to {PER_SET} requests per set and run, drawn at random (seed {SAMPLE_SEED}), not "
    "picked. Clear a box to hide its rows. What a model wrote to harmful requests may be offensive."
)
_VERDICTS = ("reasoned_refusal_frac", "direct_refusal_frac", "comply_frac", "unscored_frac")
CURVES = {  # caption -> panel
    "Reward and baseline by step": train_panel("Reward of the rollouts", "reward_mean", "baseline"),
    "Shares of verdicts on rollouts by step": train_panel("Verdicts on rollouts", *_VERDICTS),
    "KL to the initial model by step, in nats per completion": train_panel("KL to the initial model", "kl_nats"),
    "Completion length in tokens and share truncated by step": train_panel(
        "Completion length", "completion_tok", "truncated_frac"
    ),
}
_SHORT = {"held_out": "held-out hazards", "xstest_safe": "XSTest safe"}
_FILLINGS = ("full", "none", "left", "right")
Runs = Sequence[tuple[str, RunRecord]]  # the name that a run is shown by
Logged = Sequence[tuple[str, Series]]


def run_part(runs: Sequence[RunRecord]) -> Document:
    """The runs' sections, with curves.png beside them."""
    summaries = [summarise(run) for run in runs]
    groups = across_runs(summaries) if len(runs) > 1 else []
    n_seeds = {group["config_hash"]: len(group["runs"]) for group in groups}
    pictures, sheet = curves(runs)
    figures = Figures(pictures, "curves.png", "curves")
    shared = [Section("Over seeds", _seeds(groups), "seeds"), Section("Curves", [figures], "curves")]
    sections = shared if groups else []
    for number, (run, summary) in enumerate(zip(runs, summaries, strict=True), start=1):
        blocks = _blocks(run, summary, n_seeds.get(run.config_hash, 1), None if groups else figures)
        sections.append(Section(run.name, blocks, f"run{number}"))
    names = ", ".join(run.name for run in runs)
    return Document(names, sections, {"runs": summaries, "across_runs": groups}, {"curves.png": sheet})


def _seeds(groups: Sequence[dict[str, Any]]) -> list[Block]:
    blocks: list[Block] = []
    for group in groups:
        runs = f"{len(group['runs'])} run{'s' if len(group['runs']) > 1 else ''}"
        header = ["Probe set", "Measure", "Stage", *(f"seed {seed}" for seed in group["seeds"]), "mean", "sd", "95 %"]
        title, rows = f"Configuration {group['config_hash']}, {runs}", []
        for row in group["rows"]:
            values = [seeds_scale(row).text(value) for value in [*row["per_run"], row["mean"]]]
            label = measure_label(row["set"], row["measure"]) + ("" if row["measure"] == "reward_mean" else ", %")
            deviation = seeds_scale(row, is_sd=True).text(row["sd"])
            rows.append([SETS[row["set"]], label, row["stage"], *values, deviation, over_seeds_text(row)])
        blocks += [Heading(title), Table(title, header, rows, grouped=True)]
    return [*blocks, Text(f"{_SEEDS} {seeds_note(groups)}", "note")]


def _blocks(run: RunRecord, summary: dict[str, Any], n_seeds: int, figures: Figures | None) -> list[Block]:
    trips = tripped(run)
    blocks: list[Block] = [Bullets(trips, "Tripwire")] if trips else []
    blocks += [Facts(scrub(run_facts(run))), Heading("Before and after"), Text(_PROBES, "note")]
    rows = probe_rows(summary)
    table = Table.of("Probes before and after training", rows, grouped=True)
    blocks.append(Text(judge_note(run), "warning" if judge_part(run.config) else "note"))
    blocks.append(table if rows else Text("No probe was run, so there is nothing to compare."))
    blocks += [Heading("Curves"), figures] if figures else []
    blocks += [Heading("Not run, or missing"), Bullets(run_not_run(run, summary, n_seeds))]
    quotes: list[Block] = []
    for probe_set, some in sampled_pairs(run).items():
        quotes += [Heading(SETS[probe_set], 4), *map(pair_exchange, some)]
    if quotes:
        blocks.append(PageOnly([Heading("Completions before and after"), Text(_SAMPLES, "note"), *quotes]))
    return [*blocks, *_data(run), *([yaml_fold("config.yaml", run.config)] if run.config else [])]


def probe_rows(summary: dict[str, Any]) -> list[dict[str, Cell]]:
    """By column: set with what was scored of it, measure, before, after, paired difference, and how it reads."""
    rows: list[dict[str, Cell]] = []
    for probe_set, probe in summary["probes"].items():
        stages = {stage: probe[stage] for stage in ("before", "after")}
        scored = [f"{one['scored']}/{one['asked']} scored" if one else ABSENT.value for one in stages.values()]
        group = Cell(SETS[probe_set], f"{scored[0]} before, {scored[1]} after")
        for measure in (*measures(probe_set), "reward_mean"):
            paired = probe["paired"][measure]
            known = paired["difference"] is not None
            reading = Cell(probe_reading(probe_set, measure, paired["low"], paired["high"])) if known else ABSENT
            rows.append(
                {
                    "Probe set": group,
                    "Measure": Cell(measure_label(probe_set, measure)),
                    **{stage.capitalize(): stage_cell(one, measure) for stage, one in stages.items()},
                    "Paired difference": paired_cell(paired, measure),
                    "Reading": reading,
                }
            )
    return rows


def _data(run: RunRecord) -> list[Block]:
    data = run.manifest.get("data") or {}
    if not data:
        return []
    funnel, card = funnel_table(data), run.manifest.get("card")
    blocks: list[Block] = [Heading("Data")]
    blocks += [funnel, Text(f"Split: {split_sizes(data)}.", "note")] if funnel else []
    blocks += card_blocks(card) if card else []
    return [*blocks, Text(card_note(card), "note"), yaml_fold("The whole data manifest", data)]


def curves(runs: Sequence[RunRecord]) -> tuple[list[tuple[str, bytes]], bytes]:
    """As pictures_and_sheet: each of CURVES, and the probes."""
    logged = [(name, series_of(run)) for name, run in zip(labels(runs), runs, strict=True)]
    draws: dict[str, Draw] = {caption: partial(draw_panel, panel=one, runs=logged) for caption, one in CURVES.items()}
    probes: Draw = partial(draw_probes, runs=runs)
    return pictures_and_sheet(draws | {"Probe shares before and after training with 95 % intervals": probes}, 12)


def draw_panel(axes: Axes, panel: Panel, runs: Logged) -> None:
    """A panel of the dashboard; an absent value is no point and never a 0."""
    axes.set_title(panel.title)
    handles = (_scatter if panel.kind == "scatter" else _lines)(axes, panel, runs)
    drawn = [i for i, (_, logged) in enumerate(runs) if len(runs) > 1 and _is_drawn(panel, logged)]
    legend_below(axes, handles + [key(runs[i][0], linewidth=4, markersize=9, **_look(i)) for i in drawn])


def _is_drawn(panel: Panel, logged: Series) -> bool:
    """Whether the run has a line in the panel, or a point: the probe before training is no end of it."""
    if panel.kind == "scatter":
        return all(name in logged and logged[name][-1][0] > 0 for name in panel.metrics)
    return any(name in logged for name in panel.metrics)


def _look(index: int, first: str = "") -> dict[str, Any]:
    """A run's colour; where the colours begin again its marker differs from the first one."""
    again = index // len(COLOURS)
    return {"color": turn(COLOURS, index), "marker": turn(MARKERS, again) if again else first}


def _lines(axes: Axes, panel: Panel, runs: Logged) -> list[Any]:
    """What is in another unit than the first metric has its axis at the right."""
    units, alone = [metric(name).unit for name in panel.metrics], len(runs) == 1
    sides = {unit: axes if unit == units[0] else axes.twinx() for unit in dict.fromkeys(units)}
    for place, (name, unit) in enumerate(zip(panel.metrics, units, strict=True)):
        for index, (_, logged) in enumerate(runs):
            if name in logged:
                steps, values = zip(*logged[name], strict=True)
                look = _look(place if alone else index, "o" if len(steps) < 10 else "")
                look |= {"linestyle": turn(DASHES, place), "markersize": 4, "markevery": max(1, len(steps) // 8)}
                sides[unit].plot(steps, values, linewidth=1.3, **look)
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
        if len(stems) > 1 and any(panel.metrics[place] in logged for _, logged in runs)
    ]


def _scatter(axes: Axes, panel: Panel, runs: Logged) -> list[Any]:
    x, y = panel.metrics
    for index, (_, logged) in enumerate(runs):
        if _is_drawn(panel, logged):
            axes.plot(logged[x][-1][1], logged[y][-1][1], linestyle="", markersize=8, **_look(index, "o"))
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
    several = {
        name: {"color": turn(COLOURS, index), "fillstyle": turn(_FILLINGS, index // len(COLOURS))}
        for index, name in enumerate(labels(runs))
        if len(runs) > 1
    }
    own = [*several.values()] or [{}]  # one alone has a colour per stage
    for position, (probe_set, measure) in enumerate(rows):
        for index, run in enumerate(runs):
            y = position + (index - (len(runs) - 1) / 2) * 0.3 / len(runs)
            for shift, (stage, style) in zip((-0.2, 0.2), stages.items(), strict=True):
                rate = rate_of([row for row in getattr(run, stage) if row.set == probe_set], measure)
                if rate["rate"] is not None:
                    ends = (rate["low"], rate["high"])
                    point(axes, rate["rate"], y + shift, ends, markersize=5, **style | own[index])
    names = [f"{_SHORT.get(probe_set, SETS[probe_set])}:\n{measure_label(probe_set, one)}" for probe_set, one in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    shares(axes, "x")
    axes.set_title("Probes before and after, 95 % intervals")
    axes.set_xlabel("share of requests")
    grey = {"color": GREY} if several else {}
    keys = [key(stage, linestyle="", **style | grey) for stage, style in stages.items()]
    keys += [key(name, linestyle="", marker="o", **style) for name, style in several.items()]
    legend_below(axes, keys if rows else [])


def dashboard_part(runs: Runs, has_curves: bool = False) -> Document:
    """One dashboard of all the runs, overlaid; has_curves: a panel of nothing but the page's curves is left out."""
    logged = [(name, series_of(run)) for name, run in runs]
    above = {name for panel in CURVES.values() for name in panel.metrics} if has_curves else set()
    # runs beside each other, for the eye
    rows = sorted((row for name, run in runs for row in hazard_rows(name, run)), key=lambda row: row.slice)
    shown, small, line = slice_tables("Probes by hazard", rows)
    blocks: list[Block] = []
    for title, panels in SECTIONS.items():
        blocks += [Heading(title), *_figures(title, panels, logged, above)]
        tables = [panel.metrics[0] for panel in panels if panel.kind == "table"]
        blocks += [Text(_DASHBOARD, "note"), _completions(runs)] if "completions" in tables else []
        if "hazard_slices" in tables:
            blocks += [*(Fold(f"{len(table.rows)} rows", [table]) for table in shown), *small]
    titles = ", ".join(SECTIONS).lower()
    brief: list[Block] = [Text("The curves stand in report.html."), *shown, *([Text(line)] if line else [])]
    fold = Fold(f"Every panel by section, all runs overlaid: {titles}", blocks, brief)
    return Document("", [Section("Dashboard", [fold], "dashboard")])


def _figures(section: str, panels: Sequence[Panel], runs: Logged, above: set[str]) -> list[Block]:
    pictures, told = [], {"Under Curves": list[str](), "Nothing logged for": list[str]()}
    for panel in [panel for panel in panels if panel.kind != "table"]:
        if above.issuperset(panel.metrics):
            told["Under Curves"].append(panel.title)
        elif any(_is_drawn(panel, own) for _, own in runs):
            svg = picture([partial(draw_panel, panel=panel, runs=runs)])
            pictures.append((f"{section}: {panel.title}", svg))
        else:
            title = panel.title + (f" (only with {panel.only_with})" if panel.only_with else "")
            told["Nothing logged for"].append(title)
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
    return Choices("Completions", boxes, header, rows, passages=("Request", "Analysis", "Final response"))


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
