"""What a page cannot say: sentences on what was not run, not scored or not measured, and what tripped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cada_trl.config import CONF_DIR
from cada_trl.evaluation.folder import verdict_file
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import attack_name, benchmark_name
from cada_trl.report.pairs import sides
from cada_trl.report.rates import OPTIONAL
from cada_trl.report.run_record import RunRecord
from cada_trl.tracking.metrics import PROBE_SETS


def tripped(run: RunRecord) -> list[str]:
    """A sentence for each time that a tripwire tripped (docs/running.md)."""
    return [
        f"{row['wire']} ({row['action']}) at step {row['step']}, {row['name']}: {row['seen']}" for row in run.tripwires
    ]


def run_not_run(run: RunRecord, summary: dict[str, Any], n_seeds: int) -> list[str]:
    """Sentences on what this report cannot say."""
    sentences = list(run.missing)
    overlap = unchecked_overlap(run.manifest.get("data") or {})
    if overlap:
        sentences.append(overlap)
    absent = [name for name in PROBE_SETS if name not in summary["probes"]]
    if absent:
        sentences.append(f"No probe on: {', '.join(absent)}.")
    sentences.append(
        "The probes are no benchmark: attacks, over-refusal and utility are measured by python -m cada_trl.evaluate "
        "and python -m cada_trl.utility."
    )
    if n_seeds == 1:
        sentences.append("One seed only: the intervals cover the choice of requests, not the training's own noise.")
    return sentences


def unchecked_overlap(data: dict[str, Any]) -> str | None:
    """A sentence where the training requests were not compared with the evaluation sets."""
    if (data.get("decontamination") or {}).get("checked"):
        return None
    return "The training requests were not checked for overlap with any evaluation set (benchmarks_dir was not given)."


def eval_not_run(record: EvalRecord) -> list[str]:
    """By weight: an unfinished call, cells without a number, prompts that are missing, what was left out."""
    return [
        *_state(record),
        *_withheld(record),
        *_missing(record),
        *(f"Not run: {sentence}" for sentence in record.manifest.get("not_run") or []),
        *_other_benchmarks(record),
        *_unlabelled(record),
        *_limits(record),
        *_other_judges(record),
    ]


def _state(record: EvalRecord) -> list[str]:
    state = record.manifest.get("exit_state") or "unknown"
    if state == "done":
        return []
    return [f"The last call on this folder did not finish (state: {state}); these are the scores of an earlier one."]


def _withheld(record: EvalRecord) -> list[str]:
    return [
        f"{_cell(cell.benchmark, cell.attack)}: {cell.metric.upper()} withheld: {cell.headline.withheld}."
        for cell in record.scores.cells
        if cell.headline.withheld
    ]


def _missing(record: EvalRecord) -> list[str]:
    counts = Counter((one.benchmark, one.attack, one.reason) for one in record.missing)
    return [
        f"{_cell(benchmark, attack)}: {n} item{'s' if n > 1 else ''} without a prompt: {reason}."
        for (benchmark, attack, reason), n in counts.items()
    ]


def _other_benchmarks(record: EvalRecord) -> list[str]:
    asked = {cell.benchmark for cell in record.scores.cells}
    left = [benchmark_name(name) for name in _standard() if name not in asked]
    hex_phi = [] if "hex_phi" in asked else ["HEx-PHI (gated: needs your own access)"]
    return [f"Not evaluated: {', '.join(left + hex_phi)}."] if left + hex_phi else []


def _standard() -> list[str]:
    suite: Mapping[str, Any] = yaml.safe_load((CONF_DIR / "suite" / "standard.yaml").read_text(encoding="utf-8"))
    return list(suite["benchmarks"])


def _unlabelled(record: EvalRecord) -> list[str]:
    totals = [cell.total for cell in record.scores.cells]
    absent = [words for name, words in OPTIONAL.items() if not any(getattr(total, name).n for total in totals)]
    if not absent:
        return []
    return [f"No number for {' and '.join(absent)}: the judge {record.scores.judge_id} does not label it."]


def _limits(record: EvalRecord) -> list[str]:
    limit = record.config.get("limit")
    sentences = [f"At most {limit} items per benchmark: a look and no result; the intervals say so."] if limit else []
    if any(record.is_transfer(cell.attack) for cell in record.scores.cells):
        sentences.append(
            "Attacks marked transfer were written against another model: a low rate under them bounds nothing that an "
            "attacker of this very model would reach."
        )
    return sentences


def _other_judges(record: EvalRecord) -> list[str]:
    own = verdict_file(record.scores.judge_id)
    others = sorted(path.name for path in record.path.glob("verdicts-*.jsonl") if path.name != own)
    return [
        f"The folder also holds {name}; the same evaluation with that judge scores by it, from the same responses."
        for name in others
    ]


def _cell(benchmark: str, attack: str) -> str:
    return f"{benchmark_name(benchmark)}, {attack_name(attack)}"


def missing_kinds(records: Sequence[EvalRecord], with_utility: bool, with_runs: bool) -> list[str]:
    """What the page as a whole does not hold."""
    sentences = []
    if not with_utility:
        sentences.append("No utility result is on this page: whether the models still solve tasks is not said.")
    if not with_runs:
        sentences.append("No training run is on this page: no learning curves.")
    if len(records) == 1:
        sentences.append("One model only: nothing says what a training changed; give the folder of the other one too.")
    elif len(sides(records)) == len(records):
        sentences.append(
            "One seed a training: the intervals cover the choice of requests, not the training's own noise."
        )
    return sentences
