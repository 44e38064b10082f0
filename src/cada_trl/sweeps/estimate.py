"""What a cell will take: hours from steps that were measured earlier, memory, judge calls."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cada_trl.config import Config, check_config
from cada_trl.data.split import n_trained
from cada_trl.data.twins import read_twins
from cada_trl.errors import UserError
from cada_trl.evals.benchmarks import load_spec
from cada_trl.evals.settings import EvaluateConfig, load_evaluate_config
from cada_trl.launching import memory_gb
from cada_trl.planning.shapes import longest, shape_of
from cada_trl.planning.time import rollout_tflop, update_tflop
from cada_trl.report.stored_config import read_config
from cada_trl.storage.log import StoredLog
from cada_trl.sweeps.job import Job, read_manifest


@dataclass(frozen=True)
class Estimate:
    """hours: None where no comparable run was measured. judge_calls: at most."""

    hours: float | None
    memory_gb: float
    judge_calls: int


@dataclass(frozen=True)
class _Measured:
    parts_s: tuple[float, float]  # of a step: sampling, update
    parts_tflop: tuple[float, float]
    rest_s: float  # probes, loading, saving


def estimate(jobs: Sequence[Job]) -> dict[str, Estimate]:
    """Job id -> what it will take, from the runs and evaluations that lie beside where its own will."""
    runs = {folder: _measured_runs(Path(folder)) for folder in {job.config.runs_dir for job in jobs}}
    return {job.id: _estimate(job, runs[job.config.runs_dir]) for job in jobs}


def n_steps(config: Config) -> int:
    """Optimiser steps; where no max_steps is set, of the epochs over the training requests."""
    if config.algo.max_steps is not None:
        return config.algo.max_steps
    from cada_trl.training.run import n_steps as of_epochs

    twins = read_twins(Path(config.data.file)) if config.data.dataset == "twins" and config.data.file else read_twins()
    return of_epochs(config, n_trained(config.data, twins.rows))


def _estimate(job: Job, runs: dict[str, list[_Measured]]) -> Estimate:
    train_h = _train_hours(job.config, runs) if job.train is not None else 0.0
    evaluate_h = _evaluate_hours(job.evaluate_initial) if job.evaluate_initial is not None else 0.0
    hours = None if train_h is None or evaluate_h is None else train_h + evaluate_h
    return Estimate(hours, memory_gb(job.config), _judge_calls(job))


def _train_hours(config: Config, runs: dict[str, list[_Measured]]) -> float | None:
    """From the measured runs whose planned step is nearest, each part of theirs stretched to this plan's operations."""
    parts_tflop = _parts_tflop(config)
    found = []
    for run in runs.get(_cost_key(config), []):
        step_s = sum(s * own / its for s, own, its in zip(run.parts_s, parts_tflop, run.parts_tflop, strict=True))
        found.append((abs(math.log(sum(parts_tflop) / sum(run.parts_tflop))), step_s, run.rest_s))
    if not found:
        return None
    nearest = [one for one in found if one[0] == min(found)[0]]
    step_s, rest_s = (statistics.median(one[part] for one in nearest) for part in (1, 2))
    return (step_s * n_steps(config) + rest_s) / 3600


def _parts_tflop(config: Config) -> tuple[float, float]:
    shape, lengths = shape_of(config.model), longest(config)
    return rollout_tflop(config, shape, lengths), update_tflop(config, shape, lengths)


def _measured_runs(folder: Path) -> dict[str, list[_Measured]]:
    measured: dict[str, list[_Measured]] = {}
    for path in sorted(folder.glob("*/config.yaml")):
        manifest = read_manifest(path.parent)
        try:
            config = check_config(read_config(path))
            rows = StoredLog(path.parent / "train.jsonl").rows
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
    model = config.model
    facts: dict[str, Any] = {
        "params": [model.n_params, model.dtype],
        "method": config.algo.method,
        "rollout": config.rollout.backend,
        "peft": config.peft.model_dump(),
        "hardware": config.hardware.model_dump(),
    }
    return json.dumps(facts, sort_keys=True)


def _evaluate_hours(words: tuple[str, ...]) -> float | None:
    """Median pass time of finished evaluations that asked a model of this size the same."""
    wanted = _evaluation_of(words)
    walls_s = []
    for path in sorted(Path(wanted.evals_dir).glob("*/config.yaml")):
        manifest = read_manifest(path.parent)
        try:
            stored = read_config(path)
            same = all(
                stored[key] == wanted.model_dump()[key] for key in ("benchmarks", "attacks", "limit", "generation")
            )
            if same and stored["model"]["n_params"] == wanted.model.n_params and manifest.get("exit_state") == "done":
                walls_s.append(sum(manifest["pass_wall_s"].values()))
        except (UserError, KeyError):
            continue
    return statistics.median(walls_s) / 3600 if walls_s else None


def _judge_calls(job: Job) -> int:
    """Completions that a judge behind an endpoint or with weights sees; phrases cost nothing."""
    calls = 0
    config = job.config
    if job.train is not None and config.judge.kind != "phrases":
        tracking, steps = config.tracking, n_steps(config)
        n_passes = 2 + (steps // tracking.probe_every_steps if tracking.probe_every_steps else 0)
        a_completion = 2 if config.reward.reasoning == "judged" else 1  # the second grades a reasoned refusal
        calls += a_completion * steps * (config.algo.rollouts_per_step - config.algo.anchors_per_step)
        calls += n_passes * 2 * (tracking.n_probe_harmful + tracking.n_probe_harmless)
    if job.evaluate_initial is not None:
        evaluation = _evaluation_of(job.evaluate_initial)
        if evaluation.judge.kind != "phrases":
            sizes = [min(load_spec(name).n, evaluation.limit or 10**9) for name in evaluation.benchmarks]
            calls += sum(sizes) * len(evaluation.attacks)
    return calls


@lru_cache
def _evaluation_of(words: tuple[str, ...]) -> EvaluateConfig:
    """Composing takes half a second, and the cells of one model ask the same."""
    return load_evaluate_config(words)
