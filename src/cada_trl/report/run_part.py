"""What the report says of training runs: probes before and after, curves, samples, data; seeds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from cada_trl.document.blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Figures,
    Fold,
    Heading,
    PageOnly,
    Section,
    Table,
    Text,
)
from cada_trl.numbers import ABSENT, Cell
from cada_trl.report.curves import curves_png, curves_svg
from cada_trl.report.facts import CARD_COLUMNS, card_note, card_rows, funnel_table, run_facts, split_sizes
from cada_trl.report.judges import judge_note
from cada_trl.report.names import SETS, measure_label, measures, probe_reading
from cada_trl.report.not_run import run_not_run, tripped
from cada_trl.report.run_record import RunRecord
from cada_trl.report.samples import PER_SET, SAMPLE_SEED, sampled_pairs
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
    curves = Figures(curves_svg(runs), "curves.png", "curves")
    sections = [Section("Over seeds", _seeds(groups), "seeds"), Section("Curves", [curves], "curves")] if groups else []
    sections += [
        Section(
            run.name,
            _blocks(run, summary, n_seeds.get(run.config_hash, 1), None if groups else curves),
            f"run{number}",
        )
        for number, (run, summary) in enumerate(zip(runs, summaries, strict=True), start=1)
    ]
    names = ", ".join(run.name for run in runs)
    return Document(names, sections, {"runs": summaries, "across_runs": groups}, {"curves.png": curves_png(runs)})


def _seeds(groups: Sequence[dict[str, Any]]) -> list[Block]:
    blocks: list[Block] = []
    for group in groups:
        runs = f"{len(group['runs'])} run{'s' if len(group['runs']) > 1 else ''}"
        header = ["Probe set", "Measure", "Stage", *(f"seed {seed}" for seed in group["seeds"]), "mean", "sd", "95 %"]
        title = f"Configuration {group['config_hash']}, {runs}"
        blocks += [Heading(title), Table(title, header, [_seeds_row(row) for row in group["rows"]], grouped=True)]
    return [*blocks, Text(f"{_SEEDS} {seeds_note(groups)}", "note")]


def _seeds_row(row: dict[str, Any]) -> list[str]:
    values = [seeds_scale(row).text(value) for value in [*row["per_run"], row["mean"]]]
    label = measure_label(row["set"], row["measure"]) + ("" if row["measure"] == "reward_mean" else ", %")
    deviation = seeds_scale(row, is_sd=True).text(row["sd"])
    return [SETS[row["set"]], label, row["stage"], *values, deviation, over_seeds_text(row)]


def _blocks(run: RunRecord, summary: dict[str, Any], n_seeds: int, curves: Figures | None) -> list[Block]:
    trips = tripped(run)
    blocks: list[Block] = [Bullets(trips, "Tripwire")] if trips else []
    blocks += [Facts(scrub(run_facts(run))), Heading("Before and after"), Text(_PROBES, "note")]
    blocks += [Text(judge_note(summary), "warning"), _probes(summary)]
    blocks += [Heading("Curves"), curves] if curves else []
    blocks += [Heading("Not run, or missing"), Bullets(run_not_run(run, summary, n_seeds))]
    blocks += [*_samples(run), *_data(run)]
    if run.config:
        config = yaml.safe_dump(scrub(run.config), sort_keys=False, allow_unicode=True)
        blocks.append(Fold("config.yaml", [Code(config)]))
    return blocks


def _probes(summary: dict[str, Any]) -> Block:
    rows = probe_rows(summary)
    if not rows:
        return Text("No probe was run, so there is nothing to compare.")
    header = ("Probe set", "Measure", "Before", "After", "Paired difference", "Reading")
    return Table("Probes before and after training", header, rows, grouped=True)


def probe_rows(summary: dict[str, Any]) -> list[list[Cell]]:
    """Set with what was scored of it, measure, before, after, paired difference, and how it reads."""
    rows: list[list[Cell]] = []
    for probe_set, probe in summary["probes"].items():
        group = Cell(SETS[probe_set], f"{_coverage(probe['before'])} before, {_coverage(probe['after'])} after")
        for measure in (*measures(probe_set), "reward_mean"):
            paired = probe["paired"][measure]
            known = paired["difference"] is not None
            reading = Cell(probe_reading(probe_set, measure, paired["low"], paired["high"])) if known else ABSENT
            stages = [stage_cell(probe[stage], measure) for stage in ("before", "after")]
            rows.append(
                [group, Cell(measure_label(probe_set, measure)), *stages, paired_cell(paired, measure), reading]
            )
    return rows


def _coverage(one_pass: dict[str, Any] | None) -> str:
    return ABSENT.value if one_pass is None else f"{one_pass['scored']}/{one_pass['asked']} scored"


def _samples(run: RunRecord) -> list[Block]:
    pairs = sampled_pairs(run)
    quotes: list[Block] = []
    for probe_set, some in pairs.items():
        quotes += [Heading(SETS[probe_set], 4), *(pair.exchange() for pair in some)]
    title: list[Block] = [Heading("Completions before and after"), Text(_SAMPLES, "note")]
    return [PageOnly([*title, *quotes])] if pairs else []


def _data(run: RunRecord) -> list[Block]:
    data = scrub(run.manifest.get("data") or {})
    if not data:
        return []
    blocks: list[Block] = [Heading("Data")]
    columns, rows = funnel_table(data)
    if rows:
        blocks.append(
            Table("What each filter dropped", ["Requests", *columns], [[name, *counts] for name, counts in rows])
        )
        blocks.append(Text(f"Split: {split_sizes(data)}.", "note"))
    card = run.manifest.get("card")
    if card:
        table = [[name, *values] for name, values in card_rows(card)]
        blocks.append(Table("What the request set can teach", CARD_COLUMNS, table))
    manifest = Code(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    return [*blocks, Text(card_note(card), "note"), Fold("The whole data manifest", [manifest])]
