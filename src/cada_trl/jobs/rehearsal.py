"""The stages of a rehearsal: the verbs of a run as processes of their own, stopped, killed and gone on with."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from cada_trl.config import Config, load_config
from cada_trl.config.loading import as_override
from cada_trl.errors import StopAsked, UserError
from cada_trl.jobs.runner import Group, signal_group, start_group
from cada_trl.jobs.stand_in import save_launch_file, save_stand_in
from cada_trl.launching import absent
from cada_trl.records import read_jsonl
from cada_trl.rollouts.serve import address

State = Literal["rehearsed", "failed", "not rehearsed"]
STAGE_S = 3600.0  # ours: ranks that wait for each other do so for ever
_POLL_S = 0.2
_GRACE_S = 60.0
_N_ASKED = 2
_ERROR = re.compile(r"(?:\[rank\d+\]: )?(error: .+|(?:\w+\.)*\w*(?:Error|Exception)\b: .+|failed  .+)")


class Failed(Exception):
    """The run's own words."""


class Missing(Exception):
    """What this machine lacks: nothing is said of the run."""


@dataclass(frozen=True)
class Stage:
    """One line of the rehearsal. cpu_s: of its processes, on a machine that others use the steadier of the two."""

    stage: str
    state: State
    seen: str
    wall_s: float
    cpu_s: float

    def line(self) -> str:
        return f"{self.state:<13}  {self.stage:<8}  {self.wall_s:5.0f} s  {self.seen}"


class Rehearsal:
    """config: the run's own. words: the small run's, as `train` takes them, whose files are all below `folder`."""

    def __init__(self, config: Config, words: Sequence[str], n_ranks: int, folder: Path) -> None:
        self._config, self._words, self._n_ranks, self._folder = config, list(words), n_ranks, folder
        self._small = load_config(self._words, typed=())
        self._run = folder / "runs" / "run"
        self._stack = ExitStack()
        self._logs: dict[str, Path] = {}  # of each verb's last start

    def stages(self) -> Iterator[Stage]:
        """Each as it ends; after one that failed none is begun."""
        stages: dict[str, Callable[[], str]] = {
            "model": self._stand_in,
            "machine": self._machine,
            "doctor": lambda: self._verb("doctor", [*self._words, f"max_new_tok={self._config.rollout.max_new_tok}"]),
            "prepare": lambda: self._verb("prepare", self._words),
            "SIGTERM": lambda: self._stopped(signal.SIGTERM, StopAsked.exit_code),
            "SIGKILL": lambda: self._stopped(signal.SIGKILL, -signal.SIGKILL),
            "train": self._trained,
            "evaluate": self._evaluated,
            "report": lambda: self._verb("report", [str(self._run), *self._evaluations()]),
            "export": lambda: self._verb("export", [str(self._run), f"evals={','.join(self._evaluations())}"]),
        }
        with self._stack:
            for name, stage in stages.items():
                began, spent_s, state = time.monotonic(), _children_cpu_s(), "rehearsed"
                try:
                    seen = stage()
                except Missing as missing:
                    state, seen = "not rehearsed", str(missing)
                except (Failed, UserError) as failed:
                    state, seen = "failed", str(failed)
                wall_s, cpu_s = time.monotonic() - began, _children_cpu_s() - spent_s
                yield Stage(name, state, seen, round(wall_s, 1), round(cpu_s, 1))  # type: ignore[arg-type]
                if state != "rehearsed":
                    return

    def _stand_in(self) -> str:
        if self._config.hardware.launcher == "accelerate":
            save_launch_file(self._config, self._n_ranks, Path(str(self._small.hardware.accelerate_config)))
        return save_stand_in(self._config.model, Path(self._small.model.path))

    def _machine(self) -> str:
        if lacks := absent(self._small):
            raise Missing("; ".join(lacks))
        if self._small.rollout.backend == "vllm_server":
            server = self._stack.enter_context(self._started("rollouts.serve", self._words))
            while not _answers(*address(self._small)):
                self._check_alive(server, "rollouts.serve")
        return (
            f"{self._n_ranks} of {self._config.hardware.n_processes} process(es), rollout={self._small.rollout.backend}"
        )

    def _stopped(self, number: signal.Signals, wanted: int) -> str:
        n = self._n_steps()
        with self._started("train", self._words) as process:
            while self._n_steps() <= n:
                self._check_alive(process, "train")
            ranks = psutil.Process(process.pid).children(recursive=True)
            if number is signal.SIGKILL:
                signal_group(process, number)
            process.send_signal(number)
            code = self._end_of(process, "train")
            if alive := psutil.wait_procs(ranks, timeout=_GRACE_S)[1]:
                raise Failed(f"{len(alive)} process(es) outlive the {number.name} of the one that started them")
        from cada_trl.training.checkpoints import newest_complete  # with torch

        newest = newest_complete(self._run / "checkpoints", tidy=False)
        if code != wanted or newest is None:
            raise Failed(f"after {number.name}: exit code {code} and not {wanted}: {self._said('train')}")
        return f"in step {self._n_steps() + 1}; the newest whole checkpoint is of step {newest[1]}"

    def _trained(self) -> str:
        self._verb("train", self._words)
        steps, n = [int(row["step"]) for _, row in read_jsonl(self._run / "train.jsonl")], self._small.algo.max_steps
        if steps != list(range(1, int(n or 0) + 1)):
            raise Failed(f"train.jsonl has steps {steps}; expected each of {n} once")
        return f"went on from the last checkpoint to step {n}; final/ is saved"

    def _evaluated(self) -> str:
        words = [f"model={self._run}", f"limit={_N_ASKED}", f"max_new_tok={self._small.rollout.max_new_tok}"]
        return self._verb("evaluate", [*words, "threads=1", as_override("evals_dir", str(self._folder / "evals"))])

    def _evaluations(self) -> list[str]:
        return [str(file.parent) for file in sorted(self._folder.glob("evals/*/scores.json"))]

    def _verb(self, verb: str, words: Sequence[str]) -> str:
        """Run it to its end; returns the last line that it prints."""
        with self._started(verb, words) as process:
            code = self._end_of(process, verb)
        if code:
            raise Failed(self._said(verb))
        return _lines(self._logs[verb])[-1]

    @contextmanager
    def _started(self, verb: str, words: Sequence[str]) -> Iterator[Group]:
        """A verb's processes, all ended at the end. No GPU is seen, where there is one, and no node of a Slurm job."""
        self._logs[verb] = self._folder / f"{len(list(self._folder.glob('*.log'))) + 1:02}_{verb}.log"
        command = [sys.executable, "-m", f"cada_trl.{verb}", *words]
        unseen = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "SLURM_JOB_NUM_NODES"), "")
        process = start_group(command, self._logs[verb], {**unseen, "OMP_NUM_THREADS": "1"})
        try:
            yield process
        finally:
            signal_group(process, signal.SIGKILL)
            process.wait()

    def _check_alive(self, process: Group, verb: str) -> None:
        """Sleeps a moment. Errors: Failed where it ended, or nothing came of it."""
        time.sleep(_POLL_S)
        if process.poll() is not None:
            raise Failed(self._said(verb))
        if time.time() - self._logs[verb].stat().st_mtime > STAGE_S:
            raise Failed(f"{verb} hangs: nothing was said for {STAGE_S / 60:.0f} min")

    def _end_of(self, process: Group, verb: str) -> int:
        try:
            return process.wait(STAGE_S)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{verb} hangs: not at its end after {STAGE_S / 60:.0f} min") from error

    def _n_steps(self) -> int:
        file = self._run / "train.jsonl"
        return file.read_bytes().count(b"\n") if file.is_file() else 0

    def _said(self, verb: str) -> str:
        return error_of(_lines(self._logs[verb]))


def error_of(lines: Sequence[str]) -> str:
    """The first line of a log that ends a traceback or is a verb's error or finding: what follows in other ranks and in
    the launcher comes of it. Without one the last line."""
    found = (match[1] for line in lines if (match := _ERROR.match(line)))
    return next(found, lines[-1] if lines else "nothing")


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _children_cpu_s() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system
