"""Run a table's open jobs one after the other, each with a log of its own; a failing one leaves the others running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from cada_trl.storage.files import take_lock, try_lock, writing
from cada_trl.sweeps.log_tail import log_tail
from cada_trl.tables.job import Job

GRACE_S = 30.0  # ours: a training that is asked to stop writes its state in a few seconds

Say = Callable[[str], None]


def run_jobs(jobs: Sequence[Job], logs: Path, say: Say) -> dict[Job, str]:
    """Job -> how it failed, for those that did. A job whose training failed is left out: it has no model to ask.

    Errors: UserError where logs cannot be written; KeyboardInterrupt once the running job is stopped.
    """
    failed: dict[Job, str] = {}
    for number, job in enumerate(jobs, start=1):
        if job.trained in failed or job.result() is not None:
            continue
        say(f"[{number}/{len(jobs)}] {job.name}")
        why = _run(job, logs / f"{job.name}.log", say)
        if why is not None:
            failed[job] = why
            say(f"{job.name} failed: {why}\n{log_tail(logs / f'{job.name}.log')}")
    return failed


def _run(job: Job, path: Path, say: Say) -> str | None:
    """None where the job's result is there at the end, else how it failed."""
    # The job inherits the log, and with it the log's lock: it is held for as long as a process of the job lives, also
    # where this verb was killed.
    with writing(path, "choose another tables_dir"):
        log = try_lock(path)
        if log is None:
            say(f"{job.name} is still running, from an earlier call or in another table; waiting for it")
            log = take_lock(path)
    with log:
        if job.result() is not None:
            return None
        code = _call(job, log)
    if code != 0:
        return f"exit code {code}"
    return None if job.result() is not None else "it ended without an error and without a finished result"


def _call(job: Job, log: IO[bytes]) -> int:
    """In a session of its own, so that Ctrl-C reaches all its processes once, through here."""
    process = subprocess.Popen(
        job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait()
    except BaseException:
        _signal(process, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(GRACE_S)
        _signal(process, signal.SIGKILL)
        process.wait()
        raise


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
