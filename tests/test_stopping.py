"""Signals: heard at once outside of training, at the next step inside, and passed on to the ranks of a launcher."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from cada_trl import stopping
from cada_trl.errors import StopAsked
from cada_trl.stopping import StopSignals, run_ranks

RANK = """
import signal, sys, time
from pathlib import Path
from cada_trl.stopping import end_with_parent
end_with_parent()
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
Path(sys.argv[1]).touch()
time.sleep(60)
"""
# As torchrun does: waits for its rank, hears no SIGUSR1 of its own, gives 1 for every failure.
LAUNCHER = """
import subprocess, sys
sys.exit(min(1, subprocess.run([sys.executable, "-c", *sys.argv[1:]]).returncode))
"""
VERB = """
import sys
from cada_trl.stopping import run_ranks
sys.exit(run_ranks([sys.executable, "-c", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_outside_of_training_ends_the_run_at_once(number):
    with StopSignals() as signals:
        with pytest.raises(StopAsked, match=number.name):
            os.kill(os.getpid(), number)
        assert signals.asked == number.name


def test_a_librarys_except_exception_does_not_keep_the_stop():
    with StopSignals(), pytest.raises(StopAsked):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except Exception as error:
            raise RuntimeError("Failed to import") from error


def test_a_signal_in_training_waits_and_a_second_one_changes_nothing():
    with StopSignals() as signals:
        with signals.until_the_next_step():
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.asked == "SIGUSR1"


def test_a_signal_while_the_end_is_written_is_passed_over():
    with StopSignals() as signals:
        signals.no_more()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.asked is None


def test_the_handlers_from_before_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    with StopSignals():
        pass
    run_ranks([sys.executable, "-c", ""])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.fixture
def verb(tmp_path):
    """A verb, its launcher and one rank, as processes; the rank is there."""
    listens = tmp_path / "listens"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", VERB, LAUNCHER, RANK, str(listens)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not listens.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGUSR1], [signal.SIGTERM, signal.SIGUSR1]])
def test_a_launchers_ranks_hear_the_signals_and_75_comes_back(verb, numbers):
    for number in numbers:
        verb.send_signal(number)
        time.sleep(0.01)
    assert verb.wait(timeout=30) == 75


@pytest.mark.slow
def test_a_verb_that_is_killed_takes_its_launcher_and_the_ranks_along(verb):
    below = psutil.Process(verb.pid).children(recursive=True)
    verb.kill()
    assert len(below) == 2 and not psutil.wait_procs(below, timeout=30)[1]


def test_a_rank_that_ends_while_the_others_are_told_stops_nothing(monkeypatch):
    told = []

    class Gone:
        def send_signal(self, number):
            raise psutil.NoSuchProcess(1)

    class Alive:
        def send_signal(self, number):
            told.append(number.name)

    monkeypatch.setattr(psutil, "Process", lambda pid: SimpleNamespace(children=lambda recursive: [Gone(), Alive()]))
    stopping._signal_descendants(1, signal.SIGUSR1)
    assert told == ["SIGUSR1"]
    monkeypatch.setattr(psutil, "Process", lambda pid: Gone().send_signal(signal.SIGUSR1))
    stopping._signal_descendants(1, signal.SIGUSR1)  # the launcher itself has ended


def test_without_a_signal_the_launchers_own_code_comes_back():
    assert run_ranks([sys.executable, "-c", "raise SystemExit(4)"]) == 4
