"""What the report says of training runs: probes before and after, curves, samples, data; seeds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.part import Part
from cada_trl.reporting.run import cells, data_card, data_funnel, labels
from cada_trl.reporting.run.across_runs import across_runs, seeds_note
from cada_trl.reporting.run.curves import PANELS, curves_png, panel_svg
from cada_trl.reporting.run.facts import judge_note, not_run, run_facts, tripped
from cada_trl.reporting.run.run_markdown import run_markdown
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.samples import PER_SET, SAMPLE_SEED, Pair, sampled_pairs
from cada_trl.reporting.run.summary import summarise
from cada_trl.reporting.template import render, svg_uri
from cada_trl.tracking.scrub import scrub


@dataclass(frozen=True)
class RunView:
    """Everything the page says of one run."""

    name: str
    facts: dict[str, str]
    table: list[dict[str, str | Cell]]
    tripped: list[str]
    judge_note: str
    not_run: list[str]
    samples: dict[str, list[Pair]]
    data: dict[str, Any]
    card: dict[str, Any] | None  # None: none was made
    config: str


def run_part(runs: Sequence[RunRecord]) -> Part:
    """The runs' sections, with curves.png beside them."""
    summaries = [summarise(run) for run in runs]
    groups = across_runs(summaries) if len(runs) > 1 else []
    n_seeds = {group["config_hash"]: len(group["runs"]) for group in groups}
    views = [_view(run, one, n_seeds.get(run.config_hash, 1)) for run, one in zip(runs, summaries, strict=True)]
    html = render(
        "runs.html",
        views=views,
        groups=groups,
        seeds_note=seeds_note(groups),
        panels=[(caption, svg_uri(panel_svg(panel, runs))) for caption, panel in PANELS.items()],
        labels=labels,
        cells=cells,
        funnel=data_funnel,
        card=data_card,
        per_set=PER_SET,
        sample_seed=SAMPLE_SEED,
    )
    contents = [("seeds", "Over seeds")] if groups else []
    contents += [(f"run{number}", view.name) for number, view in enumerate(views, start=1)]
    return Part(
        names=[run.name for run in runs],
        contents=contents,
        html=html,
        markdown=run_markdown(views, groups),
        twin={"runs": summaries, "across_runs": groups},
        images={"curves.png": curves_png(runs)},
    )


def _view(run: RunRecord, summary: dict[str, Any], n_seeds: int) -> RunView:
    return RunView(
        name=run.name,
        facts=scrub(run_facts(run)),
        table=table_rows(summary),
        tripped=tripped(run),
        judge_note=judge_note(summary),
        not_run=not_run(run, summary, n_seeds),
        samples=sampled_pairs(run),
        data=scrub(run.manifest.get("data") or {}),
        card=run.manifest.get("card"),
        config=yaml.safe_dump(scrub(run.config), sort_keys=False, allow_unicode=True) if run.config else "",
    )


def table_rows(summary: dict[str, Any]) -> list[dict[str, str | Cell]]:
    """The headline table: one row a probe set and measure, every cell ready to show."""
    rows: list[dict[str, str | Cell]] = []
    for probe_set, probe in summary["probes"].items():
        for measure in (*labels.measures(probe_set), "reward_mean"):
            before, after = probe["before"], probe["after"]
            paired = probe["paired"][measure]
            is_reward = measure == "reward_mean"
            cell = cells.reward_cell if is_reward else cells.rate_cell
            difference = cells.reward_difference_cell if is_reward else cells.difference_cell
            rows.append(
                {
                    "set": labels.SETS[probe_set],
                    "coverage": f"{cells.coverage_cell(before)} before, {cells.coverage_cell(after)} after",
                    "measure": labels.measure_label(probe_set, measure),
                    "before": cell(before and before[measure]),
                    "after": cell(after and after[measure]),
                    "difference": difference(paired),
                    "reading": str(ABSENT)
                    if paired["difference"] is None
                    else labels.reading(probe_set, measure, paired["low"], paired["high"]),
                }
            )
    return rows
