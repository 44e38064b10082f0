"""Jobs in their order: what is done is left, what fails leaves the others, what was killed is waited for."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.tables.runner import run_jobs

from .stub_job import FAILS, SAYS_NOTHING, WRITES, WRITES_LATER, stub

PATIENCE_S = 60


def test_open_jobs_run_once_each_and_a_second_call_runs_none(tmp_path: Path) -> None:
    jobs, said = [stub(tmp_path, "a"), stub(tmp_path, "b")], []
    assert run_jobs(jobs, tmp_path / "logs", said.append) == {}
    assert said == ["[1/2] a", "[2/2] b"]
    assert run_jobs(jobs, tmp_path / "logs", said.append) == {} and len(said) == 2


def test_a_failing_job_shows_its_log_and_the_others_go_on(tmp_path: Path) -> None:
    training = stub(tmp_path, "train-a", FAILS)
    asks_it, other = stub(tmp_path, "evaluate-a", trained=training), stub(tmp_path, "b")
    said: list[str] = []
    failed = run_jobs([training, asks_it, other], tmp_path / "logs", said.append)
    assert failed == {training: "exit code 1"}
    assert other.result() is not None and asks_it.result() is None
    log = tmp_path / "logs" / "train-a.log"
    assert said[1] == f"train-a failed: exit code 1\n  {log}:\n  | the disk is full"
    assert [line for line in said if "evaluate-a" in line] == []


def test_an_end_without_a_result_is_no_success(tmp_path: Path) -> None:
    job = stub(tmp_path, "a", SAYS_NOTHING)
    failed = run_jobs([job], tmp_path / "logs", lambda _: None)
    assert failed == {job: "it ended without an error and without a finished result"}


def test_a_job_that_outlived_its_verb_is_waited_for_and_not_started_twice(tmp_path: Path) -> None:
    job, log = stub(tmp_path, "a", WRITES_LATER), tmp_path / "logs" / "a.log"
    log.parent.mkdir()
    with log.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        earlier = subprocess.Popen(job.command, stdout=file)
    said: list[str] = []
    assert run_jobs([job], log.parent, said.append) == {}
    assert said[1] == "a is still running, from an earlier call or in another table; waiting for it"
    assert earlier.wait(PATIENCE_S) == 0 and log.read_text() == "going\n"


def test_what_a_killed_verb_left_is_finished_by_the_next_call(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tables.stub_job import stub, WRITES_LATER; "
        "from cada_trl.tables.runner import run_jobs; folder = Path(sys.argv[1]); "
        "run_jobs([stub(folder, 'a', WRITES_LATER), stub(folder, 'b')], folder / 'logs', print)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])}
    verb = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=env)
    log = tmp_path / "logs" / "a.log"
    wait_for(lambda: log.is_file() and log.read_text() == "going\n")
    verb.kill()
    verb.wait()
    jobs = [stub(tmp_path, "a", WRITES), stub(tmp_path, "b")]
    assert run_jobs(jobs, log.parent, lambda _: None) == {}
    assert all(job.result() for job in jobs) and log.read_text() == "going\n"


def test_ctrl_c_stops_the_running_job_and_is_raised_again(tmp_path: Path) -> None:
    job, log = stub(tmp_path, "a", "import time; print('going', flush=True); time.sleep(60)"), tmp_path / "a.log"

    def interrupt() -> None:
        wait_for(lambda: log.is_file() and "going" in log.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs([job], tmp_path, lambda _: None)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert time.monotonic() - started < PATIENCE_S
    assert "KeyboardInterrupt" in log.read_text()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(UserError, match="choose another tables_dir"):
        run_jobs([stub(tmp_path, "a")], tmp_path / "logs", lambda _: None)


def wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)
