"""A training's dry run: ten lines that matter, the whole configuration only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cada_trl.jobs.estimate import dry_run_lines

from cada_trl.config import Config, load_config, run_name
from cada_trl.errors import UserError
from cada_trl.jobs import estimate
from cada_trl.train import main

NAMES = [
    "model",
    "requests",
    "method",
    "a step",
    "time",
    "memory",
    "run folder",
    "launcher",
    "missing here",
    "next",
]


def lines_of(*overrides: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in dry_run_lines(load_config([*overrides]), [*overrides]))


@pytest.mark.parametrize(
    ("model", "hardware"),
    [("smollm2", "cpu"), ("smollm2", "gpu"), ("llama3", "a100x4"), ("deepthought", "a100x4"), ("llama3_70b", "a100x4")],
)
def test_a_dry_run_of_every_model_is_ten_lines_and_ends_with_the_command(model: str, hardware: str) -> None:
    overrides = [f"model={model}", f"hardware={hardware}", "data=twins"]
    lines = lines_of(*overrides)
    assert list(lines) == NAMES
    assert lines["requests"] == "data=twins: 7324 rows to read, before the filters"
    assert lines["launcher"].endswith(f"-m cada_trl.train {' '.join(overrides)}")
    assert lines["run folder"] == f"runs/{run_name(load_config(overrides))}"
    assert lines["next"] == f"python -m cada_trl.train {' '.join(overrides)}   (every value: --config)"


def test_a_dry_run_says_what_would_be_trained() -> None:
    lines = lines_of("algo=cada", "seed=3", "max_steps=7", "runs_dir=none_is_there")
    assert lines["method"] == "cada, prompt=cases, judge=phrases, seed 3"
    assert "135 M parameters in float32" in lines["model"]
    assert lines["time"].startswith("7 steps of at most ")
    assert " GB a process at the longest sequences of " in lines["memory"]


def test_a_dry_run_counts_the_rollouts_of_a_step() -> None:
    lines = lines_of("model=deepthought", "hardware=a100x4", "rollouts_per_request=2", "data=twins")
    assert lines["a step"] == "128 rollouts = 64 requests x 2; 16 micro-batches of 2 on 4 process(es)"


def test_a_measured_run_gives_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "measured_runs", lambda folder: [folder])
    monkeypatch.setattr(estimate, "train_hours", lambda config, runs: 0.25 if runs == ["runs"] else None)
    assert lines_of("max_steps=7")["time"] == "7 steps, 0.2 h with both probes, as runs like it in runs took"


def test_what_a_run_refuses_in_seconds_a_dry_run_refuses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-file"):
        lines_of("data=jsonl", f"file={tmp_path}/no-such-file.jsonl")


def test_a_dry_run_shows_no_configuration_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data=twins", "--dry-run"]) == 0
    assert [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()] == NAMES
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--config"], ["--config", "--dry-run"]])
def test_config_shows_every_value_and_starts_nothing(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["beta_kl=0.5", *flags]) == 0
    page, _, rest = capsys.readouterr().out.partition("\n\n")
    assert Config.model_validate(yaml.safe_load(page)) == load_config(["beta_kl=0.5"])
    assert len(rest.splitlines()) == (len(NAMES) if "--dry-run" in flags else 0)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_as_a_process_ends_well_wherever_it_stands() -> None:
    words = ["model=deepthought", "hardware=a100x4", "data=twins", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "cada_trl.train", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "launcher: accelerate launch --config_file " in done.stdout
    assert "launch/accelerate_zero3_4gpu.yaml" in done.stdout


def test_a_dry_run_for_a_cpu_imports_no_torch() -> None:
    script = "import sys; from cada_trl.train import main; main(['--dry-run']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
