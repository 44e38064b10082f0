"""Jobs in process groups of their own, side by side on disjoint GPUs or cores: a sweep's and a table's. No torch.

A job's lock is held by its own processes, which inherit the open file: it outlives a killed sweep or table, so that no
job runs twice, and no process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO

from cada_trl.config import Config
from cada_trl.errors import StopAsked, UserError
from cada_trl.jobs.folder import JobFolder, State
from cada_trl.jobs.job import Job
from cada_trl.stopping import term_as_ctrl_c
from cada_trl.storage.files import GOES_ON, replace, try_lock, writing

_POLL_S = 0.2
_PROGRESS_S = 60.0
_CHECKPOINT_S = 600.0  # ours: a large model's steps of one rollout, and its checkpoint
_GRACE_S = 30.0  # ours: a training that is asked to stop writes its state in a few seconds
_TAIL_LINES, _TAIL_BYTES = 15, 2**16
SPENT = "max_hours is spent: a larger one goes on"
NO_RESULT = "ended without an error and without a finished result"

Say = Callable[[str], None]
Record = Callable[..., object]  # as Ledger.add: is told what becomes of a job
Group = subprocess.Popen[bytes]  # a process and its children


@dataclass(frozen=True)
class Place:
    """A part of this machine. cores: None leaves all of them; prefix: what a command line begins with there."""

    env: Mapping[str, str]
    cores: tuple[int, ...] | None = None

    @property
    def prefix(self) -> list[str]:
        return [] if self.cores is None else ["taskset", "--cpu-list", ",".join(map(str, self.cores))]


def places(n: int, configs: Sequence[Config]) -> list[Place]:
    """n places, each large enough for any of the configurations; one alone is the whole machine. Errors: UserError when
    it has too few GPUs or cores, or the cells would share a vLLM server."""
    if n == 1:
        return [Place({})]
    if any(config.rollout.backend == "vllm_server" for config in configs):
        raise UserError("jobs > 1 with rollout=vllm_server: a server holds one training's weights; set jobs=1")
    if any(config.hardware.device == "cuda" for config in configs):
        gpus, each = visible_gpus(), max(config.hardware.n_processes for config in configs)
        if n * each > len(gpus):
            most = len(gpus) // each
            raise UserError(
                f"jobs={n} cells of {each} GPU(s) need {n * each}, {len(gpus)} seen; the most is jobs={most}"
            )
        return [Place({"CUDA_VISIBLE_DEVICES": ",".join(gpus[at * each : (at + 1) * each])}) for at in range(n)]
    cores = sorted(os.sched_getaffinity(0))
    if n > len(cores):
        raise UserError(f"jobs={n} cells need as many cores, {len(cores)} seen; the most is jobs={len(cores)}")
    if shutil.which("taskset") is None:
        raise UserError("jobs > 1 on a CPU needs `taskset` (util-linux), which is not here; set jobs=1")
    each = len(cores) // n
    if wanting := [config.hardware.threads for config in configs if config.hardware.threads > each]:
        raise UserError(f"threads={wanting[0]} with jobs={n}: a cell has {each} of {len(cores)} cores; lower one")
    shares = [tuple(cores[at * each : (at + 1) * each]) for at in range(n)]
    return [Place({"OMP_NUM_THREADS": str(each)}, share) for share in shares]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def start_group(command: Sequence[str], log: Path, env: Mapping[str, str], lock: IO[bytes] | None = None) -> Group:
    """In a session of its own, which inherits the lock; a Ctrl-C reaches it through signal_group alone."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env, "MASTER_PORT": str(free_port())},
            start_new_session=True,
            pass_fds=(lock.fileno(),) if lock else (),
        )


def signal_group(process: Group, number: int) -> None:
    """To the whole group, whose number is its first process's."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:  # CUDA passes over what stands behind one that is none; -1 hides all
        return [*takewhile(lambda gpu: gpu not in {"", "-1"}, named.split(","))]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(index) for index in range(len(done.stdout.splitlines()))] if done.returncode == 0 else []


@dataclass(frozen=True)
class _Running:
    """A job's processes."""

    job: Job
    process: Group
    lock: IO[bytes]
    place: Place
    started_s: float

    @property
    def wall_s(self) -> float:
        return round(time.monotonic() - self.started_s, 1)

    def end(self) -> None:
        """Wait the grace for what was asked to stop; then kill what is left of the group, as a second Ctrl-C does."""
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.wait(_GRACE_S)
        signal_group(self.process, signal.SIGKILL)
        self.process.wait()


@dataclass
class Runner:
    """Runs the jobs of one folder. limit_s: of one job. budget_s: of all together, then what runs is stopped. env: what
    every job gets. record: is told what becomes of each; a table needs none, since the verbs' folders say what is done.

    failed: job id -> why it has no result, of those that were started.
    """

    folder: JobFolder
    say: Say
    record: Record = lambda *_, **__: None
    places: Sequence[Place] = (Place({}),)
    limit_s: float = float("inf")
    env: Mapping[str, str] = field(default_factory=dict)
    budget_s: float = float("inf")
    failed: dict[str, str] = field(default_factory=dict, init=False)
    _waited_for: set[str] = field(default_factory=set, init=False)
    _progress_told_s: float = field(default_factory=time.monotonic, init=False)

    @term_as_ctrl_c()
    def run(self, jobs: Sequence[Job]) -> None:
        """Run them; returns when none is left. A failing job leaves the others running, but for those that ask the
        model that it should have trained. Ctrl-C, SIGTERM and any error stop what runs, by SIGINT and then SIGKILL, and
        are raised again."""
        waiting, group = list(jobs), list[_Running]()
        try:
            while waiting or group:
                if self.budget_s <= sum(running.wall_s for running in group):
                    self.say(SPENT)
                    self._at_checkpoints(group)
                    self._stop(group, SPENT)
                    for job in waiting:
                        self.record(job, "to do", SPENT)
                    return
                for job in list(waiting):
                    busy = [running.place for running in group]
                    free = [place for place in self.places if place not in busy]
                    first = job.trained.id if job.trained else None
                    is_trained = first not in {one.id for one in [*waiting, *(running.job for running in group)]}
                    if first in self.failed or (free and is_trained and self._take(job, free[0], group)):
                        waiting.remove(job)
                for running in [running for running in group if self._has_ended(running)]:
                    group.remove(running)
                self._tell_progress(group)
                time.sleep(_POLL_S)
        except BaseException:
            self._stop(group, "interrupted")
            raise

    def _take(self, job: Job, place: Place, group: list[_Running]) -> bool:
        """Start the job unless a process of it is alive; True once it is started, or found to be done."""
        folder, log, script = self.folder, self.folder.log(job), self.folder.script(job)
        with writing(log, f"choose another {folder.kind}s_dir"):
            log.parent.mkdir(parents=True, exist_ok=True)
            lock = try_lock(folder.lock(job))
        if lock is None:
            if job.id not in self._waited_for:
                self.say(
                    f"{job.label}: still running, from an earlier call or in another {folder.kind}; waiting for it"
                )
                self._waited_for.add(job.id)
            return False
        if job.id in self._waited_for and (results := job.results()) is not None:
            lock.close()
            self.record(job, "done", results=results)
            return True
        replace(script, job.script(), GOES_ON)
        self.record(job, "running")
        self.say(f"{job.label}: started; log {log}")
        command = [*place.prefix, "bash", str(script)]
        process = start_group(command, log, {**self.env, **place.env}, lock)
        group.append(_Running(job, process, lock, place, time.monotonic()))
        return True

    def _has_ended(self, running: _Running) -> bool:
        job, code, wall_s = running.job, running.process.poll(), running.wall_s
        if code is None and wall_s < self.limit_s:
            return False
        if code is None:
            signal_group(running.process, signal.SIGINT)
        running.end()
        self.budget_s -= wall_s
        if code is None:
            self._fail(job, f"stopped at the limit of {self.limit_s / 3600:g} h (cell_limit_h)", wall_s)
        elif code == 0 and (results := job.results()) is not None:
            self.record(job, "done", wall_s=wall_s, results=results)
            self.say(f"{job.label}: done in {wall_s / 60:.1f} min")
        elif from_outside(code):
            self.failed[job.id] = reason = f"stopped from outside (exit code {code})"
            self.record(job, "to do", reason, wall_s)
            self.say(f"{job.label}: {reason}; the same command goes on with it")
        elif (tripwire := job.tripwire(code)) is not None:
            self._fail(job, tripwire, wall_s, "stopped")
        else:
            self._fail(job, f"exit code {code}" if code else NO_RESULT, wall_s)
        running.lock.close()
        return True

    def _tell_progress(self, group: Sequence[_Running]) -> None:
        """Once a minute, how far each running job is: the last line that it printed."""
        if time.monotonic() - self._progress_told_s < _PROGRESS_S:
            return
        self._progress_told_s = time.monotonic()
        for running in group:
            lines = [line for line in _last_lines(self.folder.log(running.job)) if line.strip()]
            self.say(f"{running.job.label}: {running.wall_s / 60:.0f} min: {lines[-1] if lines else ''}")

    def _fail(self, job: Job, reason: str, wall_s: float, state: State = "failed") -> None:
        """Said with the last lines of its log."""
        self.failed[job.id] = reason
        self.record(job, state, reason, wall_s)
        path, retry = self.folder.log(job), "; --retry starts it again" if self.folder.kind == "sweep" else ""
        tail = [f"  | {line}" for line in _last_lines(path)[-_TAIL_LINES:] or ["(empty)"]]
        self.say("\n".join([f"{job.label}: {state}, {reason}{retry}", f"  {path}:", *tail]))

    def _at_checkpoints(self, group: Sequence[_Running]) -> None:
        """Let trainings finish the steps that were sampled at once, and save."""
        for running in group:
            signal_group(running.process, signal.SIGUSR1)
        until_s = time.monotonic() + _CHECKPOINT_S
        for running in group:
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, until_s - time.monotonic()))

    def _stop(self, group: Sequence[_Running], reason: str) -> None:
        for running in group:
            signal_group(running.process, signal.SIGINT)
        for running in group:
            running.end()
            with suppress(UserError):  # on a full disk the jobs are stopped all the same
                self.record(running.job, "to do", reason, running.wall_s)
            running.lock.close()


def from_outside(code: int) -> bool:
    """Whether a process that ended with this code was asked to stop, or killed: the next call goes on with it."""
    return code in {StopAsked.exit_code, *range(129, 256)} or code < 0


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
