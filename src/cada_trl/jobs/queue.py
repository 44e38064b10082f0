"""The same jobs for a Slurm queue: a script a job, or one array of them. Never run on a real queue by us."""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.jobs.folder import Board, JobFolder, Ledger
from cada_trl.jobs.job import Job, SweepJob
from cada_trl.jobs.request import SweepConfig
from cada_trl.jobs.runner import from_outside
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of
from cada_trl.storage.files import GOES_ON, replace


def write_scripts(folder: JobFolder, jobs: Sequence[SweepJob], config: SweepConfig) -> list[list[str]]:
    """Write the jobs' scripts and return the commands that submit them; an array runs `jobs` at a time."""
    for job in jobs:
        ended = f"trap 'echo $? > {shlex.quote(str(_exit_file(folder, job).resolve()))}' EXIT"
        options = _resources(job, config) | {"--output": str(folder.log(job).resolve())}
        replace(folder.script(job), job.script([*_lines(options), ended]), GOES_ON)
    scripts = [folder.script(job) for job in jobs]
    if config.submit == "slurm_array":
        array = folder.path / "array.sh"
        replace(array, _array(folder, jobs, config), GOES_ON)
        scripts = [array]
    return [["sbatch", "--parsable", str(script)] for script in scripts]


def submit(folder: JobFolder, ledger: Ledger, jobs: Sequence[SweepJob], config: SweepConfig) -> Board:
    """Submit the jobs and record their numbers. Errors: UserError without sbatch, or with what it said."""
    if shutil.which("sbatch") is None:
        raise UserError("submit=slurm needs `sbatch`, which is not on this machine; --dry-run writes the scripts")
    board: Board = {}
    for at, command in enumerate(write_scripts(folder, jobs, config)):
        of_command = [jobs[at]] if config.submit == "slurm" else jobs
        for job in of_command:
            _exit_file(folder, job).unlink(missing_ok=True)
        queue_id = _output(command, "").strip().split(";")[0]
        for job in of_command:  # at once: what is queued and not recorded would be submitted again
            board[job.id] = ledger.add(job, "submitted", queue_id=queue_id)
            print(f"{job.label}: submitted as {queue_id}")
    return board


def collect(folder: JobFolder, ledger: Ledger, jobs: Sequence[Job]) -> Board:
    """What became of submitted jobs: done by their files, failed by their exit code, or no longer in the queue."""
    board: Board = {}
    queued = _queued() if jobs else set()
    for job in jobs:
        code = _exit_code(_exit_file(folder, job))
        if (results := job.results()) is not None:
            board[job.id] = ledger.add(job, "done", results=results)
        elif code and not from_outside(code):
            board[job.id] = ledger.add(job, "failed", f"exit code {code} in the queue")
        elif code is not None or ledger.last(job).get("queue_id") not in queued:
            board[job.id] = ledger.add(job, "to do", "no longer in the queue and not done")
    return board


def _exit_file(folder: JobFolder, job: Job) -> Path:
    """Where a queued job leaves its exit code."""
    return folder.script(job).with_suffix(".exit")


def _resources(job: SweepJob, config: SweepConfig) -> dict[str, str]:
    """sbatch's options; the user's win."""
    hardware = job.config.hardware
    options = {"--job-name": job.id, "--time": str(math.ceil(60 * config.cell_limit_h)), "--requeue": ""}
    options |= {"--open-mode": "append", "--nodes": "1", "--ntasks": "1"}
    if hardware.device == "cuda":
        options["--gpus-per-node"] = str(hardware.n_processes)
    else:
        peak_gb = plan_memory(job.config, shape_of(job.config.model)).peak_gb
        options["--mem"] = f"{math.ceil(peak_gb + 4)}G"  # 4 GB for activations and Python; ours
    if hardware.threads:
        options["--cpus-per-task"] = str(hardware.threads * hardware.n_processes)
    given = [word.partition("=") for word in shlex.split(config.slurm_args or "")]
    return options | {name: value for name, _, value in given}


def _lines(options: Mapping[str, str]) -> list[str]:
    return [f"#SBATCH {name}{'=' + value if value else ''}" for name, value in options.items()]


def _array(folder: JobFolder, jobs: Sequence[SweepJob], config: SweepConfig) -> str:
    """One array whose tasks run the jobs' own scripts; resources are those of the largest need of any job."""
    needs = [_resources(job, config) for job in jobs]
    largest = {name: max((need[name] for need in needs if name in need), key=_size) for need in needs for name in need}
    logs = folder.path.resolve() / "logs"
    largest |= {"--job-name": folder.path.name, "--output": str(logs / "array-%a.log")}
    largest |= {"--array": f"0-{len(jobs) - 1}%{config.jobs}"}
    return "\n".join(
        [
            "#!/bin/bash",
            *_lines(largest),
            "scripts=(",
            *(f"  {shlex.quote(str(folder.script(job).resolve()))}" for job in jobs),
            ")",
            "script=${scripts[$SLURM_ARRAY_TASK_ID]}",
            f'exec bash "$script" >> {shlex.quote(str(logs))}/"$(basename "$script" .sh)".log 2>&1',
            "",
        ]
    )


def _size(value: str) -> tuple[int, str]:
    return int("".join(filter(str.isdigit, value)) or 0), value


def _queued() -> set[str]:
    """Numbers of this user's jobs that wait or run; an array has one."""
    command = ["squeue", "--me", "--noheader", "--format=%F"]
    if shutil.which(command[0]) is None:
        raise UserError("cells were submitted to Slurm and `squeue` is not on this machine; call the sweep where it is")
    return set(_output(command, "; try again later").split())


def _output(command: list[str], advice: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[0]
        raise UserError(f"{shlex.join(command)} failed: {reason}{advice}")
    return done.stdout


def _exit_code(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
