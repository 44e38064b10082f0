"""A run that is asked to stop (SIGTERM, SIGUSR1) saves a whole checkpoint and ends with exit code 75.

It does so after the steps whose rollouts were sampled at once. 75 is EX_TEMPFAIL of sysexits.h: try again. Schedulers
send one of the two signals before they take a machine back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

import psutil

from cada_trl.errors import StopAsked

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def term_as_ctrl_c() -> Iterator[None]:
    """SIGTERM as Ctrl-C, for a verb whose processes have sessions of their own: it ends them before it ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopSignals:
    """Listens in this process; use it with `with`. Outside of training a signal ends the run at once, by StopAsked."""

    def __init__(self) -> None:
        self.asked: str | None = None  # the signal's name
        self._training = self._deaf = False
        self._before: dict[signal.Signals, Any] = {}

    @contextmanager
    def until_the_next_step(self) -> Iterator[None]:
        """While the optimiser runs, a signal only leaves its name in `asked`."""
        self._training = True
        try:
            yield
        finally:
            self._training = False

    def no_more(self) -> None:
        """From here on signals are passed over: the run is writing its end."""
        self._deaf = True

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self._deaf or self.asked:
            return
        self.asked = signal.Signals(number).name
        if not self._training:
            raise StopAsked(f"asked to by {self.asked} outside of a training step; the same command goes on")

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def libc(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def end_with_parent() -> None:
    """From here on the kernel kills this process where its parent is killed. Only Linux can do this."""
    prctl = libc("prctl")
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_ranks(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a launcher and wait; a signal to this process reaches its ranks as SIGUSR1. Returns the exit code.

    environment: the launcher's, where it is not this process's. Killed, this process takes the launcher with it.

    The launcher itself must not hear it: torchrun answers SIGTERM by killing its ranks. After a signal every failure
    counts as StopAsked's: a rank may die of what the others took down.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # stays ignored in the children, until a rank listens
    try:
        # Other threads here are idle ones of libraries: none holds a lock that end_with_parent would wait for.
        process = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)  # noqa: PLW1509
        asked = False

        def pass_on(*_: Any) -> None:
            nonlocal asked
            asked = True
            _signal_descendants(process.pid, signal.SIGUSR1)

        for number in SIGNALS:
            signal.signal(number, pass_on)
        code = process.wait()
        return StopAsked.exit_code if asked and code else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_descendants(pid: int, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):  # the launcher itself has ended
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # one may end while the others are told
                process.send_signal(number)
