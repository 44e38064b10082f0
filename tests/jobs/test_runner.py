"""Jobs that run: done once, failed apart, stopped by a limit, by Ctrl-C or by kill -9, and gone on with."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from cada_trl.errors import UserError
from cada_trl.jobs import runner, session
from cada_trl.jobs.folder import JobFolder, opened
from cada_trl.jobs.runner import Runner

from .conftest import FAILS, SAYS_NOTHING, WRITES_LATER, noted, stub

pytestmark = pytest.mark.slow

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be shared out")

DRIVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
from tests.jobs.conftest import stub_command
from cada_trl.errors import run_verb
from cada_trl.jobs.job import Call
from cada_trl.sweep import main
Call.command = property(stub_command)
run_verb(main)
"""


def in_background(sweep, *words):
    """The sweep as a process of its own, once its first cell runs."""
    root = Path(__file__).parents[2]
    n_before = sweep.n_starts()
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *sweep.words(*words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while sweep.n_starts() == n_before:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    return process


def test_a_failed_cell_shows_its_log_leaves_the_others_running_and_waits_for_retry(sweep):
    sweep.stub(FAILS="beta_kl=0.0")
    assert sweep("beta_kl=0.0,0.1") == 1
    assert sweep.states() == {"0.0 s0": "failed", "0.1 s0": "done"}
    assert "  | error: this cell was made to fail" in sweep.said()
    failed = sweep.record["cells"][0]
    assert failed["metrics"] == {} and failed["reason"] == "exit code 2"
    sweep.stub(FAILS=None)
    assert sweep("beta_kl=0.0,0.1") == 1
    assert sweep.n_starts() == 2
    assert "failed, exit code 2; --retry starts it again" in sweep.said()
    # what it took counts
    assert sweep("beta_kl=0.0,0.1", "--retry", "max_hours=0.00001") == 1 and sweep.n_starts() == 2
    assert sweep("beta_kl=0.0,0.1", "--retry") == 0
    assert sweep.n_starts() == 3


def test_a_cell_that_takes_too_long_is_stopped_with_its_children(sweep, monkeypatch):
    sweep.stub(SLEEP_S=60, IGNORES_SIGINT=1)
    monkeypatch.setattr(runner, "_GRACE_S", 0.5)
    started = time.monotonic()
    assert sweep("beta_kl=0.0", "cell_limit_h=0.0005") == 1
    assert time.monotonic() - started < 30
    assert sweep.record["cells"][0]["reason"] == "stopped at the limit of 0.0005 h (cell_limit_h)"
    assert all_end(sweep)


def test_a_cap_of_hours_stops_what_runs_starts_nothing_more_and_a_larger_one_goes_on(sweep):
    sweep.stub(SLEEP_S=60)
    assert sweep("beta_kl=0.0,0.1", "max_hours=0.0005") == 1
    assert sweep.n_starts() <= 1 and all_end(sweep)
    reason = "max_hours is spent: a larger one goes on"
    assert {row["reason"] for row in sweep.record["cells"]} == {reason} and reason in sweep.said()
    assert sweep("beta_kl=0.0,0.1", "max_hours=0.0005") == 1 and sweep.n_starts() <= 1
    sweep.stub(SLEEP_S=0)
    assert sweep("beta_kl=0.0,0.1", "max_hours=1") == 0


def test_at_the_end_of_the_hours_a_training_stops_at_a_checkpoint(sweep, tmp_path):
    sweep.stub(SLEEP_S=60, SAVES=tmp_path / "checkpoint", IGNORES_SIGINT=1)
    assert sweep("beta_kl=0.0", "max_hours=0.001") == 1
    assert (tmp_path / "checkpoint").is_file() and all_end(sweep)


def test_the_time_of_a_call_that_was_killed_counts_by_the_runs_own_manifest(sweep):
    assert sweep("beta_kl=0.1", "sweep_name=first") == 0
    (run,) = (sweep.folder / "runs").iterdir()
    noted(run, wall_s=3600.0)
    (sweep.sweep_folder / "ledger.jsonl").write_text("")
    sweep.said()
    assert sweep("beta_kl=0.1", "sweep_name=first", "--status") == 0 and " 1.00 " in sweep.said()
    assert sweep("beta_kl=0.1", "sweep_name=first") == 0 and sweep.record["cells"][0]["wall_s"] == 3600.0


def test_a_cell_that_its_tripwire_stopped_is_told_from_a_failed_one_and_has_no_numbers(sweep):
    sweep.stub(TRIPS="beta_kl=0.1")
    assert sweep("beta_kl=0.0,0.1") == 0
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "stopped"} and sweep.record["cells"][1]["metrics"] == {}
    reason = "by the tripwire kl_jump at step 3: 90 nats; kl_jump=warn goes on"
    assert f"beta_kl=0.1 s0: stopped, {reason}; --retry starts it again" in sweep.said()
    assert sweep("beta_kl=0.0,0.1") == 0 and sweep.n_starts() == 2
    sweep.stub(TRIPS=None)
    assert sweep("beta_kl=0.0,0.1", "--retry") == 0 and sweep.states()["0.1 s0"] == "done"


def test_a_killed_cell_is_done_by_the_next_call(sweep):
    sweep.stub(SLEEP_S=30)
    process = in_background(sweep, "beta_kl=0.0")
    (pid,) = alive(sweep)
    os.kill(pid, signal.SIGKILL)
    assert process.wait(60) == 1
    assert sweep.states() == {"s0": "to do"} and sweep.record["cells"][0]["metrics"] == {}
    sweep.stub(SLEEP_S=0)
    assert sweep("beta_kl=0.0") == 0
    assert sweep.states() == {"s0": "done"}


def test_after_a_kill_of_the_sweep_its_running_cell_is_waited_for_and_not_started_twice(sweep):
    sweep.stub(SLEEP_S=6)
    process = in_background(sweep, "beta_kl=0.0,0.1")
    process.kill()
    process.wait()
    assert alive(sweep)
    sweep.stub(SLEEP_S=0)
    assert sweep("beta_kl=0.0,0.1") == 0
    assert "beta_kl=0 s0: still running, from an earlier call or in another sweep" in sweep.said()
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "done"}
    assert sweep.n_starts() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_children_and_says_how_to_go_on(sweep, number):
    sweep.stub(SLEEP_S=60)
    process = in_background(sweep, "beta_kl=0.0,0.1")
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "stopped; 2 cells: 2 to do" in said and "the same command goes on" in said
    assert not alive(sweep)
    assert sweep.record["cells"][0]["reason"] == "interrupted"
    sweep.stub(SLEEP_S=0)
    assert sweep("beta_kl=0.0,0.1") == 0


def test_a_folder_that_another_sweep_holds_or_filled_or_that_is_damaged_is_refused(sweep):
    words = ("beta_kl=0.0,0.1", "sweep_name=mine")
    with opened(sweep.folder / "sweeps" / "mine", None), pytest.raises(UserError, match="in use by another sweep"):
        sweep(*words)
    assert sweep.n_starts() == 0
    assert sweep(*words) == 0
    before = sweep.record
    with pytest.raises(UserError, match=r"mine holds another sweep \(beta_kl=0.0,0.1 .*give its words or more values"):
        sweep("beta_kl=0.0,0.3", "sweep_name=mine")
    with pytest.raises(UserError, match="holds another sweep"):
        opened(sweep.sweep_folder, None).__enter__()  # a search
    assert sweep.record == before and sweep.n_starts() == 2
    assert sweep("beta_kl=0.0,0.1,0.3", "sweep_name=mine") == 0
    assert sweep.n_starts() == 3
    (sweep.sweep_folder / "sweep.json").write_text('{"cells": ')
    with pytest.raises(UserError, match=r"sweep\.json is damaged"):
        sweep(*words)


@two_cores
def test_a_full_disk_stops_what_runs_and_is_one_line(sweep, monkeypatch):
    whole, writes = session.replace_json, 0

    def write_until_full(path, values, advice):
        nonlocal writes
        writes += 1
        if writes > 2:  # the second cell is starting, the first one runs
            raise UserError(f"cannot write {path}: No space left on device; free space")
        whole(path, values, advice)

    monkeypatch.setattr(session, "replace_json", write_until_full)
    sweep.stub(SLEEP_S=60)
    started = time.monotonic()
    with pytest.raises(UserError, match="No space left on device"):
        sweep("beta_kl=0.0,0.1", "jobs=2")
    assert time.monotonic() - started < 40
    assert not sweep.starts.exists() or all_end(sweep)


def test_a_running_cells_last_line_is_shown(sweep, monkeypatch):
    monkeypatch.setattr(runner, "_PROGRESS_S", 0.5)
    sweep.stub(SLEEP_S=2)
    assert sweep("beta_kl=0.1") == 0
    assert "s0: 0 min: asleep" in sweep.said()


def test_a_damaged_file_of_a_finished_cell_is_found_and_a_folder_that_is_gone_is_made_again(sweep):
    assert sweep("beta_kl=0.0,0.1") == 0
    run = Path(sweep.record["cells"][0]["run_folder"])
    for file in ("train.jsonl", "final/model.safetensors", "probes/after.jsonl"):
        whole = (run / file).read_bytes()
        (run / file).write_bytes(whole + b"x")
        assert sweep("beta_kl=0.0,0.1") == 1
        assert f"damaged, {run / file} has changed" in sweep.said()
        row = sweep.record["cells"][0]
        assert (row["state"], row["metrics"]) == ("damaged", {}) and sweep.n_starts() == 2
        (run / file).write_bytes(whole)
    (run / file).unlink()
    assert sweep("beta_kl=0.0,0.1") == 1
    assert sweep.record["cells"][0]["reason"] == f"{run / file} is missing"
    run.rename(run.with_name("elsewhere"))
    assert sweep("beta_kl=0.0,0.1") == 0
    assert sweep.n_starts() == 3


def test_the_time_of_a_training_that_was_begun_elsewhere_counts_beside_the_calls_here(sweep):
    assert sweep("beta_kl=0.1", "sweep_name=first") == 0
    (run,) = (sweep.folder / "runs").iterdir()
    noted(run, exit_state="interrupted", wall_s=36000.0)
    assert sweep("beta_kl=0.1,0.2", "sweep_name=second") == 0
    begun, fresh = json.loads((sweep.folder / "sweeps/second/sweep.json").read_text())["cells"]
    assert begun["wall_s"] > 36000.0 > fresh["wall_s"] > 0.0
    noted(run, exit_state="interrupted", wall_s=36000.0)
    assert sweep("beta_kl=0.1,0.3", "sweep_name=third", "max_hours=10") == 1
    begun, fresh = json.loads((sweep.folder / "sweeps/third/sweep.json").read_text())["cells"]
    assert (begun["wall_s"], fresh["state"]) == (36000.0, "to do")


@two_cores
def test_cells_side_by_side_have_cores_and_a_port_of_their_own(sweep):
    sweep.stub(SLEEP_S=2)
    assert sweep("beta_kl=0.0,0.1", "jobs=2") == 0
    said = [path.read_text().split("place: ")[1].splitlines()[0] for path in (sweep.sweep_folder / "logs").iterdir()]
    ports = {line.split()[0] for line in said}
    cores = [set(json.loads(line[line.index("[") : line.index("]") + 1])) for line in said]
    assert len(ports) == 2 and cores[0].isdisjoint(cores[1])
    assert all(line.endswith(sweep.sweep_folder.name) for line in said)


def alive(sweep):
    """The stubs' processes that are still there."""
    lines = sweep.starts.read_text().splitlines() if sweep.starts.exists() else []  # killed before its first line
    pids = [int(line.split()[0]) for line in lines]
    there = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [one.pid for one in there if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def all_end(sweep):
    """Whether the stubs, which sleep for a minute, are gone within ten seconds."""
    return not psutil.wait_procs([psutil.Process(pid) for pid in alive(sweep)], timeout=10)[1]


def run_table(folder, *jobs):
    """The jobs as a table's: how they failed, and what was said, a line an entry."""
    said = []
    one = Runner(JobFolder(folder, "table"), said.append)
    one.run([job for job in jobs if job.results() is None])
    return one.failed, "\n".join(said).splitlines()


def test_what_asks_a_model_waits_for_its_training_and_is_left_out_where_that_failed(tmp_path):
    training = stub(tmp_path, "train-a", FAILS)
    asks_it, other = stub(tmp_path, "evaluate-a", trained=training), stub(tmp_path, "b")
    failed, said = run_table(tmp_path, training, asks_it, other)
    assert failed == {training.id: "exit code 1"}
    assert other.results() is not None and asks_it.results() is None
    log = tmp_path / "logs" / "train-a.log"
    assert said[:-1] == [
        *(f"train-a: started; log {log}", "train-a: failed, exit code 1", f"  {log}:", "  | the disk is full"),
        f"b: started; log {log.with_name('b.log')}",
    ]
    assert said[-1].startswith("b: done in ")
    assert run_table(tmp_path, other) == ({}, [])


def test_an_end_without_a_result_is_no_success(tmp_path):
    job = stub(tmp_path, "a", SAYS_NOTHING)
    assert run_table(tmp_path, job)[0] == {job.id: "ended without an error and without a finished result"}


def test_a_tables_job_that_outlived_its_verb_is_waited_for_with_what_asks_its_model(tmp_path):
    job, log = stub(tmp_path, "a", WRITES_LATER), tmp_path / "logs" / "a.log"
    asks_it = stub(tmp_path, "evaluate-a", trained=job)
    log.parent.mkdir()
    with log.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        earlier = subprocess.Popen(job.commands[0], stdout=file)
    failed, said = run_table(tmp_path, job, asks_it)
    assert failed == {} and asks_it.results() is not None
    assert said[0] == "a: still running, from an earlier call or in another table; waiting for it"
    assert said[1].startswith("evaluate-a: started")
    assert earlier.wait(60) == 0 and log.read_text() == "going\n"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(UserError, match="choose another tables_dir"):
        run_table(tmp_path, stub(tmp_path, "a"))


def test_sigterm_ends_a_tables_jobs_before_it_ends_the_table(tmp_path):
    pid = tmp_path / "pid"
    sleeps = "import os, pathlib, signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
    sleeps += f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def say(line):
        if "started" in line:
            threading.Thread(target=terminate).start()

    def terminate():
        while not (pid.is_file() and pid.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        Runner(JobFolder(tmp_path, "table"), say).run([stub(tmp_path, "a", sleeps)])
    number = int(pid.read_text())
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE
