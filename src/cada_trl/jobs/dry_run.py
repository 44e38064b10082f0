"""What a training's dry run says in ten lines: what would run, how long, where, what is missing and how to start it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from cada_trl.config import Config, run_name
from cada_trl.diagnosis import check_inputs, check_memory, findings
from cada_trl.jobs.estimate import measured_runs, n_steps, train_hours
from cada_trl.launching import launcher_command, missing
from cada_trl.planning.shapes import shape_of
from cada_trl.planning.time import estimate_step


def dry_run_lines(config: Config, overrides: list[str]) -> Iterator[str]:
    """Starts and writes nothing. Errors: UserError for what the run would refuse in seconds."""
    inputs = "; ".join(finding.seen for finding in check_inputs(config))
    model, algo, hardware = config.model, config.algo, config.hardware
    n_rollouts = algo.requests_per_step * algo.rollouts_per_request
    n_micro = n_rollouts // (hardware.micro_batch * hardware.n_processes)
    yield f"model: {model.path}, {model.n_params / 1e6:,.0f} M parameters in {model.dtype}"
    yield f"requests: data={config.data.dataset}: {inputs}"
    yield f"method: {algo.method}, prompt={config.prompt.arm}, judge={config.judge.kind}, seed {config.seed}"
    yield (
        f"a step: {n_rollouts} rollouts = {algo.requests_per_step} requests x {algo.rollouts_per_request}; "
        f"{n_micro} micro-batches of {hardware.micro_batch} on {hardware.n_processes} process(es)"
    )
    yield f"time: {_time(config)}"
    for finding in findings("memory", check_memory, config):
        yield f"memory: {finding.seen}"
    yield f"run folder: {Path(config.runs_dir) / run_name(config)}"
    yield f"launcher: {shlex.join(launcher_command(config, overrides))}"
    yield "missing here: " + ("; ".join(missing(config)) or "nothing")
    yield f"next: {shlex.join(['python', '-m', 'cada_trl.train', *overrides])}   (every value: --config)"


def _time(config: Config) -> str:
    steps = f"{n_steps(config)} steps"
    if (hours := train_hours(config, measured_runs(config.runs_dir))) is not None:
        return f"{steps}, {hours:.1f} h with both probes, as runs like it in {config.runs_dir} took"
    step = estimate_step(config, shape_of(config.model))
    if step is None:
        return f"{steps}; not estimated, the hardware names no accelerator"
    return f"{steps} of at most {step.step_s:.0f} s, estimated for the longest sequences and not measured"
