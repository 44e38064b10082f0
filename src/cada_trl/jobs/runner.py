"""Jobs in process groups of their own: a sweep's side by side with a time limit, a table's in turn. No torch.

A job's lock is held by its own processes, which inherit the open file: it outlives a killed sweep or table, so that no
job runs twice, and no process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from cada_trl.errors import StopAsked, UserError
from cada_trl.jobs.folder import SweepFolder
from cada_trl.jobs.job import Job
from cada_trl.jobs.ledger import Board, Ledger, Standing
from cada_trl.jobs.places import Place, free_port
from cada_trl.storage.files import GOES_ON, replace, take_lock, try_lock, writing

_POLL_S = 0.2
_PROGRESS_S = 60.0
_GRACE_S = 30.0  # ours: a training that is asked to stop writes its state in a few seconds
_TAIL_LINES, _TAIL_BYTES = 15, 2**16
NO_RESULT = "ended without an error and without a finished result"

Say = Callable[[str], None]


class _Running:
    """A job's processes, in a session of their own: a Ctrl-C reaches them once, through here."""

    def __init__(
        self, job: Job, command: list[str], log: IO[bytes], lock: IO[bytes], place: Place, env: Mapping[str, str]
    ) -> None:
        self.job, self.lock, self.place, self._started = job, lock, place, time.monotonic()
        self.process = subprocess.Popen(
            [*place.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env, **place.env},
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )

    @property
    def wall_s(self) -> float:
        return round(time.monotonic() - self._started, 1)

    def signal(self, number: int) -> None:
        """To the whole group, whose number is its first process's."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Wait the grace for what was asked to stop; then kill what is left of the group, as a second Ctrl-C does."""
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.wait(_GRACE_S)
        self.signal(signal.SIGKILL)
        self.process.wait()


def run_in_turn(jobs: Sequence[Job], logs: Path, say: Say) -> dict[Job, str]:
    """Run what is not done; job -> how it failed, for those that did, which leave the others running.

    A job whose training failed is left out: it has no model to ask. Errors: UserError where logs cannot be written;
    KeyboardInterrupt once the running job is stopped.
    """
    failed: dict[Job, str] = {}
    for number, job in enumerate(jobs, start=1):
        if job.trained in failed or job.results() is not None:
            continue
        say(f"[{number}/{len(jobs)}] {job.label}")
        log = logs / f"{job.id}.log"
        if (reason := _run_alone(job, log, say)) is not None:
            failed[job] = reason
            say(f"{job.label} failed: {reason}\n{log_tail(log)}")
    return failed


def _run_alone(job: Job, path: Path, say: Say) -> str | None:
    """None where its results are there at the end, else how it failed. Its log is also its lock."""
    with writing(path, "choose another tables_dir"):
        log = try_lock(path)
        if log is None:
            say(f"{job.label} is still running, from an earlier call or in another table; waiting for it")
            log = take_lock(path)
    with log:
        for command in job.commands if job.results() is None else ():
            running = _Running(job, command, log, log, Place({}), {})
            try:
                code = running.process.wait()
            except BaseException:
                running.signal(signal.SIGINT)
                running.end()
                raise
            if code != 0:
                return f"exit code {code}"
    return None if job.results() is not None else NO_RESULT


class Runner:
    """Runs jobs of one sweep folder and keeps the board, job id -> where it stands, up to date.

    limit_s: of one job. env: what every job gets. changed: called after each change of the board.
    """

    def __init__(
        self,
        folder: SweepFolder,
        ledger: Ledger,
        places: Sequence[Place],
        limit_s: float,
        env: Mapping[str, str],
        board: Board,
        changed: Callable[[], None],
    ) -> None:
        self._folder, self._ledger, self._places, self._limit_s = folder, ledger, places, limit_s
        self._env, self._board, self._changed = env, board, changed
        self._waited_for: set[str] = set()
        self._progress_told = time.monotonic()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run what is to do; returns when nothing is. A failing job leaves the others running.

        Ctrl-C and any error stop the jobs that run, by SIGINT and then SIGKILL to their groups, and are raised again.
        """
        waiting = [job for job in jobs if self._board[job.id].state == "to do"]
        group: list[_Running] = []
        try:
            while waiting or group:
                for job in list(waiting):
                    free = [place for place in self._places if place not in [running.place for running in group]]
                    if free and self._take(job, free[0], group):
                        waiting.remove(job)
                for running in [running for running in group if self._has_ended(running)]:
                    group.remove(running)
                self._tell_progress(group)
                time.sleep(_POLL_S)
        except BaseException:
            self._stop(group)
            raise

    def _take(self, job: Job, place: Place, group: list[_Running]) -> bool:
        """Start the job unless a process of it is alive; True once it is started, or found to be done."""
        path = self._folder.job_lock(job.id)
        with writing(path, "choose another sweeps_dir"):
            lock = try_lock(path)
        if lock is None:
            if job.id not in self._waited_for:
                print(f"{job.label}: still running, from an earlier call or in another sweep; waiting for it")
                self._waited_for.add(job.id)
            return False
        if job.id in self._waited_for and (results := job.results()) is not None:
            lock.close()
            self._set(job, self._ledger.done(job, results, None))
            return True
        script = self._folder.script(job.id)
        replace(script, job.script(), GOES_ON)
        self._ledger.started(job)
        self._set(job, Standing("running"))
        print(f"{job.label}: started; log {self._folder.log(job.id)}")
        with self._folder.log(job.id).open("ab") as log:
            env = {**self._env, "MASTER_PORT": str(free_port())}
            group.append(_Running(job, ["bash", str(script)], log, lock, place, env))
        return True

    def _has_ended(self, running: _Running) -> bool:
        job, code, wall_s = running.job, running.process.poll(), running.wall_s
        if code is None and wall_s < self._limit_s:
            return False
        if code is None:
            running.signal(signal.SIGINT)
        running.end()
        if code is None:
            self._fail(job, f"stopped at the limit of {self._limit_s / 3600:g} h (cell_limit_h)", wall_s)
        elif code == 0 and (results := job.results()) is not None:
            self._set(job, self._ledger.done(job, results, wall_s))
            print(f"{job.label}: done in {wall_s / 60:.1f} min")
        elif code == 0:
            self._fail(job, NO_RESULT, wall_s)
        elif from_outside(code):
            self._set(job, self._ledger.stopped(job, reason := f"stopped from outside (exit code {code})", wall_s))
            print(f"{job.label}: {reason}; the same command goes on with it")
        else:
            self._fail(job, f"exit code {code}", wall_s)
        running.lock.close()
        return True

    def _tell_progress(self, group: Sequence[_Running]) -> None:
        """Once a minute, how far each running job is: the last line that it printed."""
        if time.monotonic() - self._progress_told < _PROGRESS_S:
            return
        self._progress_told = time.monotonic()
        for running in group:
            lines = [line for line in _last_lines(self._folder.log(running.job.id)) if line.strip()]
            print(f"{running.job.label}: {running.wall_s / 60:.0f} min: {lines[-1] if lines else ''}")

    def _fail(self, job: Job, reason: str, wall_s: float) -> None:
        self._set(job, self._ledger.failed(job, reason, wall_s))
        print(f"{job.label}: failed, {reason}; --retry starts it again\n{log_tail(self._folder.log(job.id))}")

    def _set(self, job: Job, standing: Standing) -> None:
        self._board[job.id] = standing
        self._changed()

    def _stop(self, group: Sequence[_Running]) -> None:
        for running in group:
            running.signal(signal.SIGINT)
        for running in group:
            running.end()
            with suppress(UserError):  # on a full disk the jobs are stopped all the same
                self._set(running.job, self._ledger.stopped(running.job, "interrupted", running.wall_s))
            running.lock.close()


def from_outside(code: int) -> bool:
    """Whether a process that ended with this code was asked to stop, or killed: the next call goes on with it."""
    return code in {StopAsked.exit_code, *range(129, 256)} or code < 0


def log_tail(path: Path) -> str:
    """The last lines of a job's log, indented under the file's name."""
    return "\n".join([f"  {path}:", *(f"  | {line}" for line in _last_lines(path)[-_TAIL_LINES:] or ["(empty)"])])


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
