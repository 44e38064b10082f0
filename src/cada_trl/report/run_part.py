"""What the report says of training runs: probes before and after, curves, samples, data; seeds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cada_trl.document.blocks import Block, Bullets, Document, Facts, Figures, Heading, PageOnly, Section, Table, Text
from cada_trl.numbers import ABSENT, Cell
from cada_trl.report.caveats import judge_note, run_not_run, tripped
from cada_trl.report.dashboard import curves
from cada_trl.report.facts import card_note, card_table, funnel_table, run_facts, split_sizes, yaml_fold
from cada_trl.report.names import SETS, measure_label, measures, probe_reading
from cada_trl.report.run_record import RunRecord
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, pair_exchange, sampled_pairs
from cada_trl.report.summary import (
    across_runs,
    over_seeds_text,
    paired_cell,
    seeds_note,
    seeds_scale,
    stage_cell,
    summarise,
)
from cada_trl.tracking.manifest import scrub

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
    blocks.append(Text(judge_note(summary), "warning"))
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
    blocks += [card_table(card)] if card else []
    return [*blocks, Text(card_note(card), "note"), yaml_fold("The whole data manifest", data)]
