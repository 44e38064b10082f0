"""On a real Slurm of two nodes, which this file starts: a run over both that is requeued, a scancel, and a sweep."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cada_trl.records import read_jsonl
from cada_trl.storage.files import read_json
from cada_trl.sweep import main

from .run_process import finish, manifest, start, steps
from .tiny_model import save_tiny_model, tiny_overrides

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("local_slurm.sh")
LACKING = [name for name in ("slurmctld", "slurmd", "munged", "flock") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # several waits of 500 s at most
    pytest.mark.skipif(bool(LACKING), reason=f"needs Slurm: {', '.join(LACKING)} not found (Debian's slurm-wlm)"),
    pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="slurmd starts other users' jobs: needs root"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """SLURM_CONF and a PATH whose `python` is this one, for this file's tests and the jobs that they submit."""
    folder = tmp_path_factory.mktemp("slurm")
    log = folder / "start.log"
    with log.open("w") as file:  # no pipe: the daemons would hold it open
        started = subprocess.run(["bash", SCRIPT, "start", folder], stdout=file, stderr=file, timeout=120, check=False)
    if started.returncode:
        subprocess.run(["bash", SCRIPT, "stop", folder], check=False, timeout=300)
        pytest.skip(f"Slurm's own daemons do not start on this machine: {log.read_text()[-300:]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.chdir(ROOT)
        yield
        subprocess.run(["bash", SCRIPT, "stop", folder], check=True, timeout=300)


def said_by(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def wait_until(holds, limit_s=500.0):
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit_s} s; the queue: {said_by('squeue')}"
        time.sleep(0.3)


def state(job):
    shown = said_by("scontrol", "show", "job", job)
    if "Reason=BeginTime" in shown:  # a requeued job waits for two minutes, in case a node is at fault
        said_by("scontrol", "update", f"jobid={job}", "StartTime=now")
    return shown.split("JobState=")[1].split()[0]


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs the extra [deepspeed]")
def test_a_run_over_two_nodes_is_requeued_after_the_signal_and_ends_as_one_that_nothing_stopped(slurm, tmp_path):
    overrides = [*tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")), "max_steps=5", "launcher=accelerate"]
    overrides += ["n_processes=2", "micro_batch=1"]
    on_nodes, log = "accelerate_config=launch/cpu_zero2_2nodes.yaml", tmp_path / "log"
    submitted = ["sbatch", "--parsable", f"--output={log}", "launch/slurm.sh", *overrides, on_nodes]
    job = said_by(*submitted, "run_name=requeued")
    wait_until(lambda: log.is_file() and "step 2/5" in log.read_text())
    said_by("scancel", "--signal=USR1", "--batch", job)
    wait_until(lambda: state(job) == "COMPLETED")
    run = tmp_path / "runs" / "requeued"
    assert "goes on from step" in log.read_text(), log.read_text()
    assert "Restarts=1 " in said_by("scontrol", "show", "job", job)
    assert steps(run) == [1, 2, 3, 4, 5] and manifest(run)["exit_state"] == "done"

    # The reference: two ranks of one machine, without Slurm.
    code, said = finish(start([*overrides, "accelerate_config=launch/cpu_zero2.yaml", "run_name=whole"]))
    assert code == 0, said
    ended, whole = (load_file(path / "final" / "model.safetensors") for path in (run, tmp_path / "runs" / "whole"))
    assert ended.keys() == whole.keys()
    assert all(torch.equal(weight, whole[name]) for name, weight in ended.items())


def test_a_sweep_goes_through_the_queue_and_a_cancelled_cell_is_submitted_again(slurm, tmp_path, capsys):
    words = [word for word in tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")) if "run_name=" not in word]
    words += ["max_steps=1", "beta_kl=0.0,0.1,0.2", "sweep_name=tiny", f"sweeps_dir={tmp_path / 'sweeps'}"]
    words += ["launcher=slurm_array", "jobs=2", "cell_limit_h=1"]
    sweep = tmp_path / "sweeps" / "tiny"

    def cells(key):
        return [row[key] for row in read_json(sweep / "sweep.json")["cells"]]

    assert main(words) == 0 and cells("state") == ["submitted"] * 3
    submitted = [row["queue_id"] for _, row in read_jsonl(sweep / "ledger.jsonl")]
    said_by("scancel", submitted[0])
    failing = Path(cells("run_folder")[1])
    failing.parent.mkdir(exist_ok=True)
    failing.touch()  # where the cell's folder should be

    def queued():
        return bool(said_by("squeue", "--noheader"))

    wait_until(lambda: not queued())
    capsys.readouterr()
    assert main([*words, "--status"]) == 0 and "submitted" in capsys.readouterr().out
    assert main(words) == 1
    assert cells("state") == ["submitted", "failed", "done"]
    wait_until(lambda: not queued())
    failing.unlink()
    assert main([*words, "--retry"]) == 0 and cells("state") == ["done", "submitted", "done"]
    wait_until(lambda: not queued())
    assert main(words) == 0 and cells("state") == ["done"] * 3
    assert (sweep / "cells.csv").read_text().count("probe/harmful/answered_frac") == 3


def test_the_tasks_of_a_step_answer_a_part_each_and_the_same_words_put_them_together(slurm, tmp_path):
    words = [
        f"model={save_tiny_model(tmp_path / 'model')}",
        f"evals_dir={tmp_path / 'evals'}",
        "benchmarks=twins_harmful",
    ]
    verb = [
        sys.executable,
        "-m",
        "cada_trl.evaluate",
        *words,
        "attacks=none",
        "limit=4",
        "max_new_tok=4",
        "min_coverage=0",
    ]
    step = ["srun", "--nodes=2", "--ntasks=2", *verb, "shard=slurm"]
    said = subprocess.run(step, check=True, capture_output=True, text=True, timeout=500).stdout
    assert said.count("2 answers in ") == 2
    assert "with the answers of 2 shards" in subprocess.run(verb, check=True, capture_output=True, text=True).stdout
    (folder,) = (file.parent for file in (tmp_path / "evals").glob("*/scores.json"))
    assert len(list(read_jsonl(folder / "responses.jsonl"))) == 4
