"""One static page: HTML that loads nothing from anywhere, with a Markdown and a JSON twin beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from cada_trl.reporting import cells, data_funnel, labels
from cada_trl.reporting.across_runs import across_runs
from cada_trl.reporting.cells import Cell
from cada_trl.reporting.curves import PANELS, curves, panel_svg
from cada_trl.reporting.facts import judge_note, not_run, run_facts
from cada_trl.reporting.markdown import markdown
from cada_trl.reporting.run_record import RunRecord
from cada_trl.reporting.samples import PER_SET, SAMPLE_SEED, Pair, sampled_pairs
from cada_trl.reporting.summary import summarise
from cada_trl.tracking.run_folder import writing
from cada_trl.tracking.scrub import scrub


@dataclass(frozen=True)
class RunView:
    """Everything the page says of one run."""

    name: str
    facts: dict[str, str]
    table: list[dict[str, str | Cell]]
    judge_note: str
    not_run: list[str]
    samples: dict[str, list[Pair]]
    data: dict[str, Any]
    config: str


def write_report(runs: Sequence[RunRecord], out: Path) -> Path:
    """Write report.html, report.md, report.json and curves.png into `out`; returns the page's path.

    Errors: UserError when `out` cannot be written.
    """
    summaries = [summarise(run) for run in runs]
    groups = across_runs(summaries) if len(runs) > 1 else []
    n_seeds = {group["config_hash"]: len(group["runs"]) for group in groups}
    views = [_view(run, one, n_seeds.get(run.config_hash, 1)) for run, one in zip(runs, summaries, strict=True)]
    panels = [(caption, _data_uri(panel_svg(panel, runs))) for caption, panel in PANELS.items()]
    environment = Environment(
        loader=PackageLoader("cada_trl.reporting", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html").render(
        views=views,
        groups=groups,
        panels=panels,
        labels=labels,
        cells=cells,
        funnel=data_funnel,
        per_set=PER_SET,
        sample_seed=SAMPLE_SEED,
    )
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.html").write_text(page, encoding="utf-8")
        (out / "report.md").write_text(markdown(views, groups), encoding="utf-8")
        twin = {"runs": summaries, "across_runs": groups}
        (out / "report.json").write_text(json.dumps(twin, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    curves(runs, out / "curves.png")
    return out / "report.html"


def _view(run: RunRecord, summary: dict[str, Any], n_seeds: int) -> RunView:
    return RunView(
        name=run.name,
        facts=scrub(run_facts(run)),
        table=table_rows(summary),
        judge_note=judge_note(summary),
        not_run=not_run(run, summary, n_seeds),
        samples=sampled_pairs(run),
        data=scrub(run.manifest.get("data") or {}),
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
                    "reading": str(cells.ABSENT)
                    if paired["difference"] is None
                    else labels.reading(probe_set, measure, paired["low"], paired["high"]),
                }
            )
    return rows


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
