"""The same jobs for a Slurm queue: a script a job, or one array of them. Never run on a real queue by us."""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.launching import memory_gb
from cada_trl.sweeps.job import Job, script
from cada_trl.sweeps.ledger import Ledger
from cada_trl.sweeps.runner import TRY_AGAIN, Board
from cada_trl.sweeps.settings import SweepConfig
from cada_trl.sweeps.sweep_folder import SweepFolder

ARRAY = "array.sh"


def write_scripts(folder: SweepFolder, jobs: Sequence[Job], config: SweepConfig) -> list[list[str]]:
    """Write the jobs' scripts and return the commands that submit them; an array runs `jobs` at a time."""
    for job in jobs:
        ended = f"trap 'echo $? > {shlex.quote(str(exit_file(folder, job).resolve()))}' EXIT"
        log = folder.log(job.id).resolve()
        header = [*_resources(job, config), f"#SBATCH --output={log}", ended]
        folder.write(folder.script(job.id), script(job, header))
    if config.submit == "slurm":
        return [["sbatch", "--parsable", str(folder.script(job.id))] for job in jobs]
    folder.write(folder.path / ARRAY, _array(folder, jobs, config))
    return [["sbatch", "--parsable", str(folder.path / ARRAY)]]


def submit(folder: SweepFolder, ledger: Ledger, jobs: Sequence[Job], config: SweepConfig) -> None:
    """Submit the jobs and record their numbers. Errors: UserError without sbatch, or with what it said."""
    if shutil.which("sbatch") is None:
        raise UserError("submit=slurm needs `sbatch`, which is not on this machine; --dry-run writes the scripts")
    commands = write_scripts(folder, jobs, config)
    for at, command in enumerate(commands):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(
                f"{shlex.join(command)} failed: {(done.stderr.strip() or 'no reason given').splitlines()[0]}"
            )
        queue_id = done.stdout.strip().split(";")[0]
        for job in jobs if config.submit == "slurm_array" else [jobs[at]]:
            exit_file(folder, job).unlink(missing_ok=True)
            ledger.submitted(job, queue_id)
            print(f"{job.label}: submitted as {queue_id}")


def collect(folder: SweepFolder, ledger: Ledger, jobs: Sequence[Job], board: Board) -> None:
    """What became of submitted jobs: done by their files, failed by their exit code, or no longer in the queue."""
    waiting = [job for job in jobs if board[job.id].state == "submitted"]
    queued = _queued() if waiting else set()
    for job in waiting:
        if (results := job.results()) is not None:
            board[job.id] = ledger.done(job, results, None)
            continue
        code = _exit_code(exit_file(folder, job))
        if code not in {None, 0, TRY_AGAIN} and code is not None and code <= 128:
            ledger.failed(job, f"exit code {code} in the queue", None)
        elif code is not None or ledger.queue_id(job) not in queued:
            ledger.stopped(job, "no longer in the queue and not done", None)
        board[job.id] = ledger.standing(job)


def exit_file(folder: SweepFolder, job: Job) -> Path:
    """Where a queued job leaves its exit code."""
    return folder.script(job.id).with_suffix(".exit")


def _resources(job: Job, config: SweepConfig) -> list[str]:
    hardware = job.config.hardware
    minutes = math.ceil(60 * config.cell_limit_h)
    options = [
        f"--job-name={job.id}",
        f"--time={minutes}",
        "--requeue",
        "--open-mode=append",
        "--nodes=1",
        "--ntasks=1",
    ]
    if hardware.device == "cuda":
        options.append(f"--gpus-per-node={hardware.n_processes}")
    else:
        options.append(f"--mem={math.ceil(memory_gb(job.config) + 4)}G")  # 4 GB for activations and Python; ours
    if hardware.threads:
        options.append(f"--cpus-per-task={hardware.threads * hardware.n_processes}")
    return [f"#SBATCH {option}" for option in [*options, *shlex.split(config.slurm_args or "")]]


def _array(folder: SweepFolder, jobs: Sequence[Job], config: SweepConfig) -> str:
    """One array whose tasks run the jobs' own scripts; resources are those of the largest need of any job."""
    needs = [
        dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in _resources(job, config)) for job in jobs
    ]
    largest = {name: max((need[name] for need in needs if name in need), key=_size) for need in needs for name in need}
    largest |= {"job-name": folder.path.name, "output": str(folder.path.resolve() / "logs" / "array-%a.log")}
    lines = [f"#SBATCH --{name}{'=' + value if value else ''}" for name, value in largest.items()]
    logs = shlex.quote(str(folder.path.resolve() / "logs"))
    scripts = [shlex.quote(str(folder.script(job.id).resolve())) for job in jobs]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            f"#SBATCH --array=0-{len(jobs) - 1}%{config.jobs}",
            "scripts=(",
            *(f"  {one}" for one in scripts),
            ")",
            "script=${scripts[$SLURM_ARRAY_TASK_ID]}",
            f'exec bash "$script" >> {logs}/"$(basename "$script" .sh)".log 2>&1',
            "",
        ]
    )


def _size(value: str) -> tuple[int, str]:
    digits = "".join(one for one in value if one.isdigit())
    return int(digits or 0), value


def _queued() -> set[str]:
    """Numbers of this user's jobs that wait or run; an array has one."""
    command = ["squeue", "--me", "--noheader", "--format=%F"]
    if shutil.which(command[0]) is None:
        raise UserError("cells were submitted to Slurm and `squeue` is not on this machine; call the sweep where it is")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"squeue failed: {(done.stderr.strip() or 'no reason given').splitlines()[0]}; try again later")
    return set(done.stdout.split())


def _exit_code(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
