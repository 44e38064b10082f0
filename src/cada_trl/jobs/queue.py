"""The same jobs for a Slurm queue, one by one or as one array; and where each job stands now. No torch."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.jobs.folder import JobFolder, Ledger, wall_s
from cada_trl.jobs.grid import SweepConfig
from cada_trl.jobs.job import Job, SweepJob
from cada_trl.jobs.runner import NO_RESULT, from_outside
from cada_trl.planning.device import ROOT, n_machines
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of
from cada_trl.storage.files import GOES_ON, replace
from cada_trl.storage.log import StoredLog

_STEP = ROOT / "launch" / "slurm_step.sh"
_CPUS_A_GPU = 4  # ours: without it Slurm gives one CPU to all of a node's GPUs
_NOTICE_S = 300  # ours, as in launch/slurm.sh: a step and its checkpoint fit into it
COLUMNS = ("id", "cell", "state", "in the queue", "step", "last step", "hours", "reason")


def write_scripts(folder: JobFolder, jobs: Sequence[SweepJob], config: SweepConfig) -> list[list[str]]:
    """Write the jobs' scripts and return the commands that submit them; an array runs `jobs` at a time."""
    for job in jobs:
        replace(folder.script(job), _on_each_node(job), GOES_ON)
    submitted = {folder.path / "array.sbatch": list(jobs)}
    if config.submit == "slurm":
        submitted = {folder.script(job).with_suffix(".sbatch"): [job] for job in jobs}
    for path, together in submitted.items():
        replace(path, _submission(folder, together, config), GOES_ON)
    return [["sbatch", "--parsable", str(path)] for path in submitted]


def submit(folder: JobFolder, ledger: Ledger, jobs: Sequence[SweepJob], config: SweepConfig) -> None:
    """Submit the jobs and record their numbers. Errors: UserError without sbatch, or with what it said."""
    if shutil.which("sbatch") is None:
        raise UserError("submit=slurm needs `sbatch`, which is not on this machine; --dry-run writes the scripts")
    for at, command in enumerate(write_scripts(folder, jobs, config)):
        of_command = [jobs[at]] if config.submit == "slurm" else jobs
        for job in of_command:
            _exit_file(folder, job).unlink(missing_ok=True)
        number = _output(command, "").strip().split(";")[0]
        for task, job in enumerate(of_command):  # at once: what is queued and not recorded would be submitted again
            queue_id = number if config.submit == "slurm" else f"{number}_{task}"
            ledger.add(job, "submitted", queue_id=queue_id)
            print(f"{job.label}: submitted as {queue_id}")


def collect(folder: JobFolder, ledger: Ledger, jobs: Sequence[Job]) -> None:
    """What became of submitted jobs: done by their files, still queued, or ended with a code or without one."""
    queued = queue_states() if jobs else {}
    for job in jobs:
        codes, took_s = _attempts(_exit_file(folder, job))
        if (results := job.results()) is not None:
            ledger.add(job, "done", wall_s=took_s, results=results)
        elif ledger.last(job).get("queue_id") in queued:
            continue
        elif not codes or from_outside(codes[-1]):
            ledger.add(job, "to do", "no longer in the queue and not done", took_s)
        elif (reason := job.tripwire(codes[-1])) is not None:
            ledger.add(job, "stopped", reason, took_s)
        else:
            ledger.add(job, "failed", f"exit code {codes[-1]} in the queue" if codes[-1] else NO_RESULT, took_s)


def queue_states() -> dict[str, str]:
    """Number -> PENDING, RUNNING, ... of whichever user; an array's tasks are 12_0, 12_1. Errors: UserError."""
    command = ["squeue", "--array", "--noheader", "--format=%i %T"]
    if shutil.which(command[0]) is None:
        raise UserError("cells were submitted to Slurm and `squeue` is not on this machine; call the sweep where it is")
    return dict(line.split() for line in _output(command, "; try again later").splitlines())


def status_rows(path: Path, jobs: Sequence[SweepJob]) -> list[tuple[str, ...]]:
    """A row a job, under COLUMNS. Results are not compared with what was recorded: that is a call of the sweep.
    Errors: UserError for a damaged ledger, and as queue_states where jobs were submitted."""
    events = StoredLog(path / "ledger.jsonl").rows
    last = {event["job"]: event for event in events}
    queued = queue_states() if any(event["state"] == "submitted" for event in last.values()) else {}
    rows: list[tuple[str, ...]] = []
    for job in jobs:
        event, is_done = last.get(job.id, {}), job.results() is not None
        state = event.get("state", "to do")
        state = "done" if is_done else "to do" if state == "done" else state
        in_queue = queued.get(event.get("queue_id", ""), "gone") if state == "submitted" else ""
        hours = (wall_s(events, job) or 0.0) / 3600
        reason = "" if is_done else str(event.get("reason") or "")
        rows.append((job.id, job.label, state, in_queue, *_progress(job), f"{hours:.2f}" if hours else "", reason))
    return rows


def _progress(job: SweepJob) -> tuple[str, str]:
    """Its training's last step, and how long ago that was written."""
    if job.run_folder is None or not (file := job.run_folder / "train.jsonl").is_file():
        return "", ""
    rows, minutes = StoredLog(file).rows, (time.time() - file.stat().st_mtime) / 60
    return (str(rows[-1]["step"]), f"{minutes:.0f} min ago") if rows else ("", "")


def _exit_file(folder: JobFolder, job: Job) -> Path:
    """Where a queued job leaves the exit code and the seconds of each attempt: a requeued job has several."""
    return folder.script(job).with_suffix(".exit")


def _attempts(path: Path) -> tuple[list[int], float | None]:
    """Exit codes, and the seconds of all attempts; ([], None) where none ended in order."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return [int(code) for code, _ in rows], float(sum(int(wall_s) for _, wall_s in rows))
    except (OSError, ValueError):
        return [], None


def _on_each_node(job: SweepJob) -> str:
    """Through slurm_step.sh: the training on every node, the rest on the first. A training is asked to stop by USR1; an
    evaluation may die of it, since it goes on where it was."""
    first_alone = '[ "${NODE_RANK:-0}" = 0 ] || exit 0'
    if job.run_folder is None:
        return job.script([first_alone, *map(shlex.join, job.commands)])
    commands = ["trap '' USR1"]
    for call in job.calls:
        after = ["trap - USR1", first_alone] if call.verb == "train" else []
        commands += [shlex.join(call.command), *after]
    return job.script(commands)


def _submission(folder: JobFolder, jobs: Sequence[SweepJob], config: SweepConfig) -> str:
    """What sbatch gets: the options, and of an array the task's own script, under the job's lock and with its log."""
    first, log, lock = (of(jobs[0]).resolve() for of in (folder.script, folder.log, folder.lock))
    # Slurm itself holds a second job of the same cell back, whichever sweep submitted it; an array has its name.
    options = {"--dependency": "singleton"} | _resources(jobs[0], config) | {"--output": str(log)}
    lock.parent.mkdir(parents=True, exist_ok=True)
    if config.submit == "slurm_array":
        needs = [_resources(job, config) for job in jobs]
        names = dict.fromkeys(name for need in needs for name in need)
        options = {name: max((need[name] for need in needs if name in need), key=_size) for name in names}
        options |= {"--job-name": folder.path.name, "--array": f"0-{len(jobs) - 1}%{config.jobs}"}
        options |= {"--output": str(log.with_name("array-%a.log"))}
    lines = [f"#SBATCH {name}{'=' + shlex.quote(value) if value else ''}" for name, value in options.items()]
    # A requeued cell has its whole limit again, for which a cap has no room: the next call submits what goes on.
    restarts = "export MOST_RESTARTS=0\n" if config.max_hours else ""
    return f"""#!/bin/bash
{chr(10).join(lines)}
cells=({" ".join(job.id for job in jobs)})
cell=${{cells[${{SLURM_ARRAY_TASK_ID:-0}}]}}
script={shlex.quote(str(first.parent))}/$cell.sh
exec >> {shlex.quote(str(log.parent))}/"$cell.log" 2>&1 9>> {shlex.quote(str(lock.parent))}/"$cell.lock"
trap 'echo "$? $SECONDS" >> "${{script%.sh}}.exit"' EXIT
flock --nonblock 9; locked=$?
[ "$locked" -ne 1 ] || {{ echo "another process works on this cell"; exit 75; }}
[ "$locked" -eq 0 ] || exit 2
export WANDB_RUN_GROUP={shlex.quote(folder.path.name)}
{restarts}source {shlex.quote(str(_STEP))}
on_each_node bash "$script"
"""


def _resources(job: SweepJob, config: SweepConfig) -> dict[str, str]:
    """sbatch's options; the user's win."""
    hardware = job.config.hardware
    a_node, limit_s = hardware.n_processes // n_machines(hardware), 3600 * config.cell_limit_h
    options = {"--job-name": job.id, "--time": str(math.ceil(limit_s / 60)), "--requeue": "", "--open-mode": "append"}
    options |= {"--signal": f"B:USR1@{min(_NOTICE_S, int(limit_s / 4))}"}
    options |= {"--nodes": str(job.n_machines), "--ntasks-per-node": "1"}
    if hardware.device == "cuda":
        options |= {"--gpus-per-node": str(a_node), "--cpus-per-task": str(_CPUS_A_GPU * a_node)}
    else:
        peak_gb = plan_memory(job.config, shape_of(job.config.model)).peak_gb
        options["--mem"] = f"{math.ceil(peak_gb * a_node + 4)}G"  # 4 GB for activations and Python; ours
    if hardware.threads:
        options["--cpus-per-task"] = str(hardware.threads * a_node)
    return options | given_options(config)


_OURS = ("--array", "--nodes", "--ntasks-per-node", "--output", "--open-mode")


def given_options(config: SweepConfig) -> dict[str, str]:
    """slurm_args by name. Errors: UserError for other words than long options: a line of a script's head has one each,
    and one that lacks its value takes the next line for it."""
    try:
        words = shlex.split(config.slurm_args or "")
    except ValueError as error:
        raise UserError(f"slurm_args={config.slurm_args}: {error}") from error
    for word in words:
        if not re.fullmatch(r"--[a-z][a-z0-9-]*(=.+)?", word):
            raise UserError(f"slurm_args: {word!r} is no long option; expected --name=value, as in --partition=gpu")
        if word.startswith("--time="):  # max_hours= counts with the limit
            raise UserError(f"slurm_args: {word} is the cell's limit; give it in hours, as in cell_limit_h=24")
        if (name := word.partition("=")[0]) in _OURS:
            raise UserError(
                f"slurm_args: {name} is set by the sweep, from hardware=, jobs= and its folder; leave it out"
            )
        if word.startswith("--job-name="):  # of one name each waits for the one before
            raise UserError(f"slurm_args: {word} would run the cells one by one; as --comment= it does not")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _size(value: str) -> tuple[int, str]:
    return int("".join(filter(str.isdigit, value)) or 0), value


def _output(command: list[str], advice: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[0]
        raise UserError(f"{shlex.join(command)} failed: {reason}{advice}")
    return done.stdout
