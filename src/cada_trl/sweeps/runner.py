"""Jobs side by side, each in a process group of its own on its own GPUs or cores, with a time limit. No torch."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from cada_trl.errors import UserError
from cada_trl.storage.files import try_lock, writing
from cada_trl.sweeps.job import Job, script
from cada_trl.sweeps.ledger import Ledger, Standing
from cada_trl.sweeps.log_tail import last_line, log_tail
from cada_trl.sweeps.places import Place, free_port
from cada_trl.sweeps.sweep_folder import SweepFolder

_POLL_S = 0.2
_PROGRESS_S = 60.0
_GRACE_S = 30.0  # ours: a training that is asked to stop writes its state in a few seconds
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a run that was asked to stop at a checkpoint

Board = dict[str, Standing]


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    place: Place
    started: float
    lock: IO[bytes]

    @property
    def wall_s(self) -> float:
        return round(time.monotonic() - self.started, 1)


class Runner:
    """Runs jobs of one sweep folder and keeps the board, job id -> where it stands, up to date.

    limit_s: of one job. env: what every job gets. changed: called after each change of the board. say: a line.
    """

    def __init__(
        self,
        folder: SweepFolder,
        ledger: Ledger,
        places: Sequence[Place],
        limit_s: float,
        env: Mapping[str, str],
        board: Board,
        changed: Callable[[Board], None],
        say: Callable[[str], None] = print,
    ) -> None:
        self._folder, self._ledger, self._places, self._limit_s = folder, ledger, places, limit_s
        self._env, self.board, self._changed, self._say = env, board, changed, say
        self._said_busy: set[str] = set()
        self._said_progress = time.monotonic()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run what is to do; returns when nothing is. A failing job leaves the others running.

        Ctrl-C and any error stop the jobs that run, by SIGINT and then SIGKILL to their groups, and are raised again.
        """
        waiting = [job for job in jobs if self.board[job.id].state == "to do"]
        running: list[_Running] = []
        try:
            while waiting or running:
                for job in list(waiting):
                    free = [place for place in self._places if place not in [one.place for one in running]]
                    if free and self._take(job, free[0], running):
                        waiting.remove(job)
                for one in [one for one in running if self._has_ended(one)]:
                    running.remove(one)
                self._say_progress(running)
                time.sleep(_POLL_S)
        except BaseException:
            self._stop(running)
            raise

    def _take(self, job: Job, place: Place, running: list[_Running]) -> bool:
        """Start the job unless a process of it is alive; True once it is started, or found to be done."""
        lock = self._locked(job)
        if lock is None:
            if job.id not in self._said_busy:
                self._say(f"{job.label}: still running, from an earlier call or in another sweep; waiting for it")
                self._said_busy.add(job.id)
            return False
        if job.id in self._said_busy and (results := job.results()) is not None:
            lock.close()
            self._set(job, self._ledger.done(job, results, None))
            return True
        running.append(self._start(job, place, lock))
        return True

    def _locked(self, job: Job) -> IO[bytes] | None:
        path = self._folder.job_lock(job.id)
        with writing(path, "choose another sweeps_dir"):
            return try_lock(path)

    def _start(self, job: Job, place: Place, lock: IO[bytes]) -> _Running:
        self._folder.write(self._folder.script(job.id), script(job))
        self._ledger.started(job)
        self._set(job, Standing("running"))
        self._say(f"{job.label}: started; log {self._folder.log(job.id)}")
        env = {**os.environ, **self._env, **place.env, "MASTER_PORT": str(free_port())}
        with self._folder.log(job.id).open("ab") as log:
            process = subprocess.Popen(
                [*place.prefix, "bash", str(self._folder.script(job.id))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                # The lock belongs to the open file: it is held for as long as any process of the job lives.
                pass_fds=(lock.fileno(),),
            )
        return _Running(job, process, place, time.monotonic(), lock)

    def _has_ended(self, one: _Running) -> bool:
        code, wall_s = one.process.poll(), one.wall_s
        if code is None and wall_s < self._limit_s:
            return False
        if code is None:
            _signal(one.process, signal.SIGINT)
        _end_group(one.process)
        if code is None:
            self._fail(one.job, f"stopped at the limit of {self._limit_s / 3600:g} h (cell_limit_h)", wall_s)
        elif code == 0 and (results := one.job.results()) is not None:
            self._set(one.job, self._ledger.done(one.job, results, wall_s))
            self._say(f"{one.job.label}: done in {wall_s / 60:.1f} min")
        elif code == 0:
            self._fail(one.job, "ended without an error and without a finished result", wall_s)
        elif code == TRY_AGAIN or code < 0 or code > 128:
            self._ledger.stopped(one.job, reason := f"stopped from outside (exit code {code})", wall_s)
            self._set(one.job, Standing("to do", reason, wall_s=wall_s))
            self._say(f"{one.job.label}: {reason}; the same command goes on with it")
        else:
            self._fail(one.job, f"exit code {code}", wall_s)
        one.lock.close()
        return True

    def _say_progress(self, running: Sequence[_Running]) -> None:
        """Once a minute, how far each running job is: the last line that it printed."""
        if time.monotonic() - self._said_progress < _PROGRESS_S:
            return
        self._said_progress = time.monotonic()
        for one in running:
            self._say(f"{one.job.label}: {one.wall_s / 60:.0f} min: {last_line(self._folder.log(one.job.id))}")

    def _fail(self, job: Job, reason: str, wall_s: float) -> None:
        self._ledger.failed(job, reason, wall_s)
        self._set(job, Standing("failed", reason, wall_s=wall_s))
        self._say(f"{job.label}: failed, {reason}; --retry starts it again\n{log_tail(self._folder.log(job.id))}")

    def _set(self, job: Job, standing: Standing) -> None:
        self.board[job.id] = standing
        self._changed(self.board)

    def _stop(self, running: Sequence[_Running]) -> None:
        for one in running:
            _signal(one.process, signal.SIGINT)
        for one in running:
            _end_group(one.process)
            with suppress(UserError):  # on a full disk the jobs are stopped all the same
                self._ledger.stopped(one.job, "interrupted", one.wall_s)
                self._set(one.job, Standing("to do", "interrupted", wall_s=one.wall_s))
            one.lock.close()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Wait the grace for a process that was asked to stop; then kill what is left of its group, as a second Ctrl-C."""
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To the whole group, whose number is its first process's."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
