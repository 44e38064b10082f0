"""What a training or an evaluation will take, from what was measured earlier; and what a training's dry run says."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cada_trl.config import Config, check_config, run_name
from cada_trl.data.sources import read_twins
from cada_trl.data.split import n_trained
from cada_trl.doctor import check_inputs, check_memory, findings, missing
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks.pair import PairAttack
from cada_trl.evaluation.plan import sets_of
from cada_trl.evaluation.settings import EvaluateConfig
from cada_trl.jobs.grid import Cell
from cada_trl.jobs.job import asking, ended
from cada_trl.launching import launcher_command
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import estimate_step, longest, rollout_tflop, shape_of, update_tflop
from cada_trl.storage.log import StoredLog


@dataclass(frozen=True)
class Cost:
    """hours: None where no comparable run was measured. memory_gb: of one process. judge_calls: at most, of a model."""

    hours: float | None
    memory_gb: float
    judge_calls: int


def sweep_costs(cells: Sequence[Cell]) -> dict[str, Cost]:
    """Job id -> what it will take, from the runs and evaluations that lie beside where its own will."""
    runs, costs = cache(measured_runs), dict[str, Cost]()
    for cell in cells:
        config = cell.config
        memory_gb = plan_memory(config, shape_of(config.model)).peak_gb
        hours, calls = train_hours(config, runs(config.runs_dir)), _judged_rollouts(config)
        if (initial := cell.initial) is not None and initial.evaluation is not None:
            # The trained model is not there yet: it is asked as the one that it starts from.
            evaluation = asking(initial.evaluation)
            n_items = sum(min(spec.n, evaluation.limit or 10**9) for spec, _ in sets_of(evaluation)[0])
            turns = evaluation.attacker.n_streams * evaluation.attacker.n_iterations  # PAIR has each judged, too
            n_judged = n_items * sum(1 + turns * (attack == PairAttack.name) for attack in evaluation.attacks)
            judged = evaluation.judge.n_models * n_judged
            asked = Cost(evaluate_hours(evaluation), memory_gb, judged)
            costs[initial.id] = asked
            hours = None if hours is None or asked.hours is None else hours + asked.hours
            calls += asked.judge_calls
        costs[cell.id] = Cost(hours, memory_gb, calls)
    return costs


def n_steps(config: Config) -> int:
    """Optimiser steps; where no max_steps is set, of the epochs over the training requests."""
    if config.algo.max_steps is not None:
        return config.algo.max_steps
    from cada_trl.training.run import n_steps as of_epochs

    twins = read_twins(Path(config.data.file)) if config.data.dataset == "twins" and config.data.file else read_twins()
    return of_epochs(config, n_trained(config.data, twins.rows))


@dataclass(frozen=True)
class Measured:
    """A run that ended well."""

    config: Config
    parts_s: tuple[float, float]  # of a step: sampling, update
    rest_s: float  # probes, loading, saving


def train_hours(config: Config, runs: Sequence[Measured]) -> float | None:
    """From the measured runs whose planned step is nearest, each part of theirs stretched to this plan's operations."""
    own = _parts_tflop(config)
    times = []  # (distance, seconds of a step, of the rest)
    for run in runs:
        if _cost_key(run.config) == _cost_key(config):
            its = _parts_tflop(run.config)
            step_s = sum(s * mine / theirs for s, mine, theirs in zip(run.parts_s, own, its, strict=True))
            times.append((abs(math.log(sum(own) / sum(its))), step_s, run.rest_s))
    if not times:
        return None
    nearest = [time for time in times if time[0] == min(times)[0]]
    step_s, rest_s = (statistics.median(time[part] for time in nearest) for part in (1, 2))
    return (step_s * n_steps(config) + rest_s) / 3600


def _parts_tflop(config: Config) -> tuple[float, float]:
    shape, lengths = shape_of(config.model), longest(config)
    return rollout_tflop(config, shape, lengths), update_tflop(config, shape, lengths)


def measured_runs(runs_dir: str) -> list[Measured]:
    """The runs there whose steps were timed."""
    measured = []
    for folder, stored, manifest in ended(runs_dir):
        if manifest.get("exit_state") != "done" or not manifest.get("wall_s"):
            continue
        try:
            config = check_config(stored)
            rows = StoredLog(folder / "train.jsonl").rows
            steps_s = [(row.get("train/rollout_s", 0.0), row["train/step_s"]) for row in rows]
            _parts_tflop(config)
        except (UserError, KeyError):  # of another version, or damaged: no measurement
            continue
        if steps_s:
            rollout_s = statistics.median(rollout_s for rollout_s, _ in steps_s)
            update_s = statistics.median(step_s - rollout_s for rollout_s, step_s in steps_s)
            rest_s = max(0.0, manifest["wall_s"] - sum(step_s for _, step_s in steps_s))
            measured.append(Measured(config, (rollout_s, update_s), rest_s))
    return measured


def _cost_key(config: Config) -> tuple[object, ...]:
    """What must be the same for the time of another run's step to say something of this one's."""
    model = config.model
    return model.n_params, model.dtype, config.algo.method, config.rollout.backend, config.peft, config.hardware


def evaluate_hours(config: EvaluateConfig) -> float | None:
    """Median pass time of finished evaluations that asked a model of this size the same; not known of a part."""
    if config.shard:
        return None
    wanted = config.model_dump(include={"benchmarks", "attacks", "limit", "generation", "twins_file"})
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
    """Questions of a training and its probes to a judge that is a model."""
    tracking, steps = config.tracking, n_steps(config)
    n_passes = 2 + (steps // tracking.probe_every_steps if tracking.probe_every_steps else 0)
    per_completion = 2 if config.reward.reasoning == "judged" else 1  # the second grades a reasoned refusal
    n_rollouts = steps * config.algo.judged_per_step
    n_asking = config.hardware.n_processes  # each judges the whole probe
    n_probed = n_asking * n_passes * 2 * (tracking.n_probe_harmful + tracking.n_probe_harmless)
    return config.judge.n_models * (per_completion * n_rollouts + n_probed)


def dry_run_lines(config: Config, overrides: list[str]) -> Iterator[str]:
    """Starts and writes nothing. Errors: UserError for what the run would refuse in seconds."""
    model, algo, hardware = config.model, config.algo, config.hardware
    n_rollouts = algo.rollouts_per_step
    n_micro = n_rollouts // (hardware.micro_batch * hardware.n_processes)
    yield f"model: {model.path}, {model.n_params / 1e6:,.0f} M parameters in {model.dtype}"
    inputs = "; ".join(finding.seen for finding in check_inputs(config))  # reads every row
    yield f"requests: data={config.data.dataset}: {inputs}"
    yield f"method: {algo.method}, prompt={config.prompt.arm}, judge={config.judge.kind}, seed {config.seed}"
    yield (
        f"a step: {n_rollouts} rollouts = {algo.requests_per_step} requests x {algo.rollouts_per_request}; "
        f"{n_micro} micro-batches of {hardware.micro_batch} on {hardware.n_processes} process(es)"
    )
    steps = f"{n_steps(config)} steps"
    if (hours := train_hours(config, measured_runs(config.runs_dir))) is not None:
        yield f"time: {steps}, {hours:.1f} h with both probes, as runs like it in {config.runs_dir} took"
    elif (step := estimate_step(config, shape_of(model))) is not None:
        yield f"time: {steps} of at most {step.step_s:.0f} s, estimated for the longest sequences and not measured"
    else:
        yield f"time: {steps}; not estimated, the hardware names no accelerator"
    for finding in findings("memory", check_memory, config):
        yield f"memory: {finding.seen}"
    yield f"run folder: {Path(config.runs_dir) / run_name(config)}"
    yield f"launcher: {shlex.join(launcher_command(config, overrides))}"
    yield "missing here: " + ("; ".join(missing(config)) or "nothing")
    yield f"next: {shlex.join(['python', '-m', 'cada_trl.train', *overrides])}   (every value: --config)"
