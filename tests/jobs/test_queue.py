"""The jobs in a queue, with stand-ins for Slurm's commands: no real queue is here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError

from .conftest import StubSweep
from .stub_verb import write_run

SBATCH = '#!/bin/sh\necho "$@" >> "$SLURM_CALLS"\nwc -l < "$SLURM_CALLS"\n'
SQUEUE = '#!/bin/sh\ncat "$SLURM_QUEUE"\n'


@pytest.fixture
def queue(sweep: StubSweep, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sbatch numbers its calls from 1, squeue lists what the file holds."""
    tools = sweep.folder / "tools"
    tools.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    queue = sweep.folder / "queue"
    queue.write_text("")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CALLS", str(sweep.folder / "calls"))
    monkeypatch.setenv("SLURM_QUEUE", str(queue))
    return queue


def calls(sweep: StubSweep) -> list[str]:
    path = sweep.folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def scripts(sweep: StubSweep) -> list[Path]:
    return sorted((sweep.folder / "sweeps").glob("*/cells/*.sh"))


def test_a_dry_run_writes_a_script_a_cell_and_submits_nothing(
    sweep: StubSweep, queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["beta_kl=0.0,0.1", "hardware=gpu", "cell_limit_h=1.5", 'slurm_args="--partition=gpu --account=lab"']
    assert sweep(*words, "launcher=slurm", "--dry-run") == 0
    said = capsys.readouterr().out
    assert calls(sweep) == [] and len(scripts(sweep)) == 2
    for script in scripts(sweep):
        text = script.read_text()
        for option in ("--time=90", "--gpus-per-node=1", "--requeue", "--partition=gpu", "--account=lab"):
            assert f"#SBATCH {option}\n" in text
        assert "beta_kl=0." in text and f"sbatch --parsable {script}" in said
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_submitted_script_runs_the_cell_and_what_is_queued_is_not_submitted_again(
    sweep: StubSweep, queue: Path
) -> None:
    words = ("beta_kl=0.0,0.1", "launcher=slurm")
    assert sweep(*words) == 0
    assert len(calls(sweep)) == 2 and sweep.states() == {"0.0 s0": "submitted", "0.1 s0": "submitted"}
    queue.write_text("1\n2\n")
    script = sweep.sweep_folder / "cells" / f"{sweep.record['cells'][0]['id']}.sh"
    assert subprocess.run(["bash", script], check=False).returncode == 0
    assert script.with_suffix(".exit").read_text() == "0\n"
    assert sweep(*words) == 0
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "submitted"} and len(calls(sweep)) == 2


def test_what_became_of_submitted_cells_is_read_from_their_files(sweep: StubSweep, queue: Path) -> None:
    words = ("beta_kl=0.0,0.1,0.2", "launcher=slurm")
    sweep(*words)
    write_run(load_config([*sweep.words("beta_kl=0.0")[:2], "data=twins"]))
    failed = sweep.sweep_folder / "cells" / f"{sweep.record['cells'][1]['id']}.exit"
    failed.write_text("2\n")
    assert sweep(*words) == 1  # the third is no longer queued and not done: it is submitted again
    assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "failed", "0.2 s0": "submitted"}
    assert len(calls(sweep)) == 4
    assert sweep.record["cells"][1]["reason"] == "exit code 2 in the queue"


def test_an_array_has_a_task_a_cell_and_runs_as_many_at_once_as_jobs(sweep: StubSweep, queue: Path) -> None:
    words = ("beta_kl=0.0,0.1,0.2", "launcher=slurm_array", "jobs=2")
    assert sweep(*words) == 0
    array = sweep.sweep_folder / "array.sh"
    assert calls(sweep) == [f"--parsable {array}"]
    text = array.read_text()
    assert "#SBATCH --array=0-2%2\n" in text and "#SBATCH --requeue\n" in text
    for task in range(3):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
        assert subprocess.run(["bash", array], env=environment, check=False).returncode == 0
    assert sweep(*words) == 0
    assert set(sweep.states().values()) == {"done"}
    assert "place:" in (sweep.sweep_folder / "logs" / f"{sweep.record['cells'][2]['id']}.log").read_text()


def test_without_slurm_it_says_what_is_missing(sweep: StubSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sweep.folder))
    with pytest.raises(UserError, match="needs `sbatch`, which is not on this machine"):
        sweep("beta_kl=0.0", "launcher=slurm")
