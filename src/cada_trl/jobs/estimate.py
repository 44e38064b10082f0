"""What a job will take: a sweep's from steps that were measured earlier, a table's from recipes/tables/models.yaml."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cada_trl.config import Config, check_config
from cada_trl.data.benchmark_items import load_spec
from cada_trl.data.split import n_trained
from cada_trl.data.twins import read_twins
from cada_trl.errors import UserError
from cada_trl.jobs.job import Job, Words, asking, ended
from cada_trl.jobs.sweep_record import Planned
from cada_trl.jobs.table_layout import load_models
from cada_trl.jobs.table_plan import TablePlan
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import longest, shape_of
from cada_trl.planning.time import rollout_tflop, update_tflop
from cada_trl.storage.log import StoredLog


@dataclass(frozen=True)
class Cost:
    """hours: of the job's machine, None where no comparable run was measured. memory_gb: of one process.

    judge_calls: at most, of a judge behind an endpoint or with weights; judge_usd: their price.
    """

    hours: float | None
    gpu_hours: float = 0.0
    memory_gb: float = 0.0
    judge_calls: int = 0
    judge_usd: float = 0.0


@dataclass(frozen=True)
class _Measured:
    parts_s: tuple[float, float]  # of a step: sampling, update
    parts_tflop: tuple[float, float]
    rest_s: float  # probes, loading, saving


def table_cost(job: Job, plan: TablePlan) -> Cost:
    """A guess by the number of answers; models.yaml says what of it was measured."""
    model, (call,) = plan.model, job.calls
    if call.verb == "train":
        return Cost(model.train_h, model.train_h * model.n_gpu.train)
    hours = job.n * (model.response_s if call.verb == "evaluate" else model.question_s) / 3600
    n_calls = job.n if call.verb == "evaluate" and plan.asks_endpoint else 0
    usd = n_calls * load_models().judge_usd
    return Cost(hours, hours * model.n_gpu.evaluate, judge_calls=n_calls, judge_usd=usd)


def sweep_costs(plan: Planned) -> dict[str, Cost]:
    """Job id -> what it will take, from the runs and evaluations that lie beside where its own will."""
    runs = {folder: _measured_runs(folder) for folder in {cell.config.runs_dir for cell, _, _ in plan.values()}}
    costs: dict[str, Cost] = {}
    for cell, job, initial in plan.values():
        config = cell.config
        memory_gb = plan_memory(config, shape_of(config.model)).peak_gb
        # The trained model is not there yet: it is asked as the one that it starts from.
        words = initial.evaluation if initial else None
        asked_h = _evaluate_hours(words) if words else 0.0
        asked_calls = _judged_answers(words) if words else 0
        train_h = _train_hours(config, runs[config.runs_dir])
        hours = None if train_h is None or asked_h is None else train_h + asked_h
        if initial:
            costs[initial.id] = Cost(asked_h, memory_gb=memory_gb, judge_calls=asked_calls)
        costs[job.id] = Cost(hours, memory_gb=memory_gb, judge_calls=_judged_rollouts(config) + asked_calls)
    return costs


def n_steps(config: Config) -> int:
    """Optimiser steps; where no max_steps is set, of the epochs over the training requests."""
    if config.algo.max_steps is not None:
        return config.algo.max_steps
    from cada_trl.training.run import n_steps as of_epochs

    twins = read_twins(Path(config.data.file)) if config.data.dataset == "twins" and config.data.file else read_twins()
    return of_epochs(config, n_trained(config.data, twins.rows))


def _train_hours(config: Config, runs: Mapping[str, Sequence[_Measured]]) -> float | None:
    """From the measured runs whose planned step is nearest, each part of theirs stretched to this plan's operations."""
    parts_tflop = _parts_tflop(config)
    times = []  # (distance, seconds of a step, of the rest)
    for run in runs.get(_cost_key(config), ()):
        step_s = sum(s * mine / its for s, mine, its in zip(run.parts_s, parts_tflop, run.parts_tflop, strict=True))
        times.append((abs(math.log(sum(parts_tflop) / sum(run.parts_tflop))), step_s, run.rest_s))
    if not times:
        return None
    nearest = [time for time in times if time[0] == min(times)[0]]
    step_s, rest_s = (statistics.median(time[part] for time in nearest) for part in (1, 2))
    return (step_s * n_steps(config) + rest_s) / 3600


def _parts_tflop(config: Config) -> tuple[float, float]:
    shape, lengths = shape_of(config.model), longest(config)
    return rollout_tflop(config, shape, lengths), update_tflop(config, shape, lengths)


def _measured_runs(runs_dir: str) -> dict[str, list[_Measured]]:
    measured: dict[str, list[_Measured]] = {}
    for folder, stored, manifest in ended(runs_dir):
        try:
            config = check_config(stored)
            rows = StoredLog(folder / "train.jsonl").rows
            rollouts_s = [row.get("train/rollout_s", 0.0) for row in rows]
            steps_s = [row["train/step_s"] for row in rows]
            parts_tflop = _parts_tflop(config)
        except (UserError, KeyError):  # of another version, or damaged: no measurement
            continue
        if manifest.get("exit_state") == "done" and manifest.get("wall_s") and rows:
            updates_s = [step_s - rollout_s for step_s, rollout_s in zip(steps_s, rollouts_s, strict=True)]
            rest_s = max(0.0, manifest["wall_s"] - sum(steps_s))  # a resumed run's wall time is its last call's
            parts_s = statistics.median(rollouts_s), statistics.median(updates_s)
            measured.setdefault(_cost_key(config), []).append(_Measured(parts_s, parts_tflop, rest_s))
    return measured


def _cost_key(config: Config) -> str:
    """What must be the same for the time of another run's step to say something of this one's."""
    peft, hardware = config.peft.model_dump(), config.hardware.model_dump()
    model, method = [config.model.n_params, config.model.dtype], config.algo.method
    return json.dumps([model, method, config.rollout.backend, peft, hardware], sort_keys=True)


def _evaluate_hours(words: Words) -> float | None:
    """Median pass time of finished evaluations that asked a model of this size the same."""
    config = asking(words)
    wanted = config.model_dump(include={"benchmarks", "attacks", "limit", "generation"})
    walls_s = [
        sum(manifest["pass_wall_s"].values())
        for _, stored, manifest in ended(config.evals_dir)
        if manifest.get("exit_state") == "done"
        and "pass_wall_s" in manifest
        and stored.get("model", {}).get("n_params") == config.model.n_params
        and {key: stored.get(key) for key in wanted} == wanted
    ]
    return statistics.median(walls_s) / 3600 if walls_s else None


def _judged_rollouts(config: Config) -> int:
    """Completions of a training and its probes that a judge sees; phrases cost nothing."""
    if config.judge.kind == "phrases":
        return 0
    tracking, steps = config.tracking, n_steps(config)
    n_passes = 2 + (steps // tracking.probe_every_steps if tracking.probe_every_steps else 0)
    per_completion = 2 if config.reward.reasoning == "judged" else 1  # the second grades a reasoned refusal
    n_rollouts = steps * (config.algo.rollouts_per_step - config.algo.anchors_per_step)
    return per_completion * n_rollouts + n_passes * 2 * (tracking.n_probe_harmful + tracking.n_probe_harmless)


def _judged_answers(words: Words) -> int:
    config = asking(words)
    if config.judge.kind == "phrases":
        return 0
    return len(config.attacks) * sum(min(load_spec(name).n, config.limit or 10**9) for name in config.benchmarks)
