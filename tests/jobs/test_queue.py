"""The jobs in a queue, with stand-ins for Slurm's commands; tests/end_to_end/test_slurm.py has a real one."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.jobs.queue import given_options
from cada_trl.storage.files import held

from .conftest import STUB
from .stub_verb import write_run

FIRST_ALONE = '[ "${NODE_RANK:-0}" = 0 ] || exit 0'
SBATCH = '#!/bin/sh\necho "$@" >> "$SLURM_CALLS"\nwc -l < "$SLURM_CALLS"\n'
SQUEUE = '#!/bin/sh\ncat "$SLURM_QUEUE"\n'
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n'
SCONTROL = "#!/bin/sh\necho node NodeAddr=127.0.0.1\n"


@pytest.fixture
def queue(sweep, monkeypatch):
    """sbatch numbers its calls from 1, squeue lists what the file holds."""
    tools = sweep.folder / "tools"
    tools.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    queue = sweep.folder / "queue"
    queue.write_text("")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CALLS", str(sweep.folder / "calls"))
    monkeypatch.setenv("SLURM_QUEUE", str(queue))
    for name, value in {"JOB_NODELIST": "node", "JOB_ID": "1", "NODEID": "0", "JOB_NUM_NODES": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return queue


def calls(sweep):
    path = sweep.folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def scripts(sweep):
    return sorted((sweep.folder / "sweeps").glob("*/cells/*.sbatch"))


def of_cell(sweep, number, suffix):
    return sweep.sweep_folder / "cells" / f"{sweep.record['cells'][number]['id']}{suffix}"


def run(script, **environment):
    return subprocess.run(["bash", script], env={**os.environ, **environment}, check=False).returncode


def test_a_dry_run_writes_a_script_a_cell_and_submits_nothing(sweep, queue):
    slurm = "slurm_args=\"--partition=gpu --comment='a b' --exclusive\""
    words = ["beta_kl=0.0,0.1", "hardware=gpu", "cell_limit_h=1.5", slurm]
    assert sweep(*words, "launcher=slurm", "--dry-run") == 0
    said = sweep.said()
    assert calls(sweep) == [] and len(scripts(sweep)) == 2
    for script in scripts(sweep):
        text = script.read_text()
        for option in ("time=90", "gpus-per-node=1", "requeue", "partition=gpu", "comment='a b'", "exclusive"):
            assert f"#SBATCH --{option}\n" in text
        assert "beta_kl=0." in script.with_suffix(".sh").read_text() and f"sbatch --parsable {script}" in said
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@pytest.mark.slow
def test_a_submitted_script_runs_the_cell_and_what_is_queued_is_not_submitted_again(sweep, queue):
    words = ("beta_kl=0.0,0.1", "launcher=slurm")
    assert sweep(*words) == 0
    assert len(calls(sweep)) == 2 and sweep.states() == {"0.0 s0": "submitted", "0.1 s0": "submitted"}
    queue.write_text("1 RUNNING\n2 PENDING\n")
    assert all("#SBATCH --dependency=singleton\n" in script.read_text() for script in scripts(sweep))
    script = of_cell(sweep, 0, ".sbatch")
    assert run(script) == 0
    assert script.with_suffix(".exit").read_text().startswith("0 ")
    assert sweep(*words) == 0
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "submitted"} and len(calls(sweep)) == 2


def test_what_became_of_submitted_cells_is_read_from_their_files(sweep, queue):
    words = ("beta_kl=0.0,0.1,0.2", "launcher=slurm")
    sweep(*words)
    write_run(load_config(["beta_kl=0.0", *sweep.of_training]))
    of_cell(sweep, 1, ".exit").write_text("75 3500\n2 100\n")  # it was requeued once
    assert sweep(*words) == 1  # the third is no longer queued and not done: it is submitted again
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "failed", "0.2 s0": "submitted"}
    assert len(calls(sweep)) == 4
    failed = sweep.record["cells"][1]
    assert (failed["reason"], failed["wall_s"]) == ("exit code 2 in the queue", 3600)


def test_what_is_still_queued_is_left_alone_whatever_code_its_last_attempt_had(sweep, queue):
    words = ("beta_kl=0.0,0.1", "launcher=slurm_array")
    sweep(*words)
    queue.write_text("1_0 PENDING\n")
    for number in (0, 1):
        of_cell(sweep, number, ".exit").write_text("75 10\n")
    assert sweep(*words) == 0
    assert sweep.states() == {"0.0 s0": "submitted", "0.1 s0": "submitted"}
    assert len(calls(sweep)) == 2  # the second alone is submitted again


@pytest.mark.slow
def test_cells_of_two_machines_ask_for_two_and_only_the_first_evaluates(sweep, queue):
    words = ("beta_kl=0.1,0.2", "model=llama3", "hardware=a100x16", "evaluate=quick")
    with pytest.raises(UserError, match="runs on 2 machines, and this call has one; add launcher=slurm"):
        sweep(*words)
    assert sweep(*words, "launcher=slurm_array", "--dry-run") == 0
    (array,) = (sweep.folder / "sweeps").glob("*/array.sbatch")
    text, own = array.read_text(), [*array.parent.glob("cells/*.sh")]
    assert all(f"#SBATCH {option}\n" in text for option in ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8"))
    assert len(own) == 3  # two trainings, and the untrained model
    for script in own:
        first, evaluate = script.read_text().splitlines()[-2:]
        assert first == FIRST_ALONE and str(STUB) in evaluate


def test_a_lock_that_cannot_be_had_is_no_busy_cell(sweep, queue):
    sweep("beta_kl=0.0", "launcher=slurm")
    (script,) = scripts(sweep)
    refusing = queue.parent / "tools" / "flock"
    refusing.write_text("#!/bin/sh\nexit 66\n")
    refusing.chmod(0o755)
    assert run(script) == 2 and sweep.n_starts() == 0


def test_a_cell_that_another_process_works_on_is_left_to_it(sweep, queue):
    words = ("beta_kl=0.0", "launcher=slurm")
    sweep(*words)
    cell = sweep.record["cells"][0]["id"]
    with held(sweep.folder / "sweeps" / "locks" / f"{cell}.lock", "busy"):
        assert run(scripts(sweep)[0]) == 75
    assert "another process works on this cell" in (sweep.sweep_folder / "logs" / f"{cell}.log").read_text()
    assert sweep.n_starts() == 0


def test_a_cap_of_hours_submits_only_what_it_has_room_for_and_counts_what_ended(sweep, queue):
    words = ("beta_kl=0.0,0.1,0.2", "launcher=slurm", "cell_limit_h=2", "max_hours=5")
    assert sweep(*words) == 1
    assert sweep.states() == {"0.0 s0": "submitted", "0.1 s0": "submitted", "0.2 s0": "to do"}
    assert sweep.record["cells"][2]["reason"] == "max_hours leaves no room for its limit: a larger one goes on"
    assert all("export MOST_RESTARTS=0\n" in script.read_text() for script in scripts(sweep))
    queue.write_text("1 RUNNING\n")
    of_cell(sweep, 1, ".exit").write_text("2 1800\n")
    assert sweep(*words) == 1
    assert sweep.states() == {"0.0 s0": "submitted", "0.1 s0": "failed", "0.2 s0": "submitted"}


def test_the_status_shows_the_queue_and_writes_nothing(sweep, queue):
    words = ("beta_kl=0.0,0.1", "launcher=slurm")
    sweep(*words)
    queue.write_text("1 RUNNING\n")
    before = {path: path.stat().st_mtime_ns for path in sweep.folder.rglob("*")}
    sweep.said()
    assert sweep(*words, "--status") == 0
    said = sweep.said()
    assert "RUNNING" in said and "gone" in said
    assert {path: path.stat().st_mtime_ns for path in sweep.folder.rglob("*")} == before


@pytest.mark.slow
def test_an_array_has_a_task_a_cell_and_runs_as_many_at_once_as_jobs(sweep, queue):
    words = ("beta_kl=0.0,0.1,0.2", "launcher=slurm_array", "jobs=2")
    assert sweep(*words) == 0
    array = sweep.sweep_folder / "array.sbatch"
    assert calls(sweep) == [f"--parsable {array}"]
    text = array.read_text()
    assert "#SBATCH --array=0-2%2\n" in text and "#SBATCH --requeue\n" in text
    assert "singleton" not in text  # a second array would wait for the whole first
    for task in range(3):
        assert run(array, SLURM_ARRAY_TASK_ID=str(task)) == 0
    assert sweep(*words) == 0
    assert set(sweep.states().values()) == {"done"}
    assert "place:" in (sweep.sweep_folder / "logs" / f"{sweep.record['cells'][2]['id']}.log").read_text()


@pytest.mark.parametrize(
    "given", ["-p all -A all", "--time 60", "--time=60", "--job-name=mine", "--comment='a", "gpu", "--array=0-3"]
)
@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_slurm_args_that_the_sweep_cannot_take_are_refused_before_anything_is_written(sweep, queue, given, words):
    with pytest.raises(UserError, match=r"^slurm_args"):
        sweep("beta_kl=0.0", "launcher=slurm", f'slurm_args="{given}"', *words)
    assert calls(sweep) == [] and not (sweep.folder / "sweeps").exists()


@pytest.mark.parametrize("word", ["--nodes=2", "--ntasks-per-node=4", "--output=/tmp/mine.log", "--open-mode=truncate"])
def test_what_the_sweep_itself_sets_is_not_taken_from_slurm_args(word):
    config = SimpleNamespace(slurm_args=f"--partition=gpu {word}")
    with pytest.raises(UserError, match=rf"^slurm_args: {word.partition('=')[0]} is set by the sweep"):
        given_options(config)


def test_without_slurm_it_says_what_is_missing(sweep, monkeypatch):
    monkeypatch.setenv("PATH", str(sweep.folder))
    with pytest.raises(UserError, match="needs `sbatch`, which is not on this machine"):
        sweep("beta_kl=0.0", "launcher=slurm")
