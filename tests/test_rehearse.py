"""rehearse: what is made small, what is said of the rest, and a whole rehearsal of a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from end_to_end.tiny_model import save_tiny_model, tiny_overrides

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.jobs import rehearsal as rehearsing
from cada_trl.jobs.rehearsal import Rehearsal, error_of
from cada_trl.jobs.stand_in import save_launch_file
from cada_trl.rehearse import RESULT, main, ranks_that_fit, small_words, unrehearsed

DEEPTHOUGHT = ["model=deepthought", "hardware=a100x4"]


@pytest.mark.parametrize(
    ("words", "free_gb", "n_ranks"),
    [
        (DEEPTHOUGHT, 100.0, 4),
        (DEEPTHOUGHT, 5.9, 2),  # three fit, and do not divide four
        (DEEPTHOUGHT, 0.1, 1),
        ([*DEEPTHOUGHT, "rollout=vllm_colocate"], 10.0, 2),
        (["model=llama3", "hardware=a100x16"], 100.0, 16),
        (["hardware=cpu"], 100.0, 1),
    ],
)
def test_as_many_of_the_runs_processes_are_started_as_the_memory_holds(
    words: list[str], free_gb: float, n_ranks: int
) -> None:
    assert ranks_that_fit(load_config(words), free_gb) == n_ranks


def test_only_device_size_and_places_differ_from_the_run(tmp_path: Path) -> None:
    words = [*DEEPTHOUGHT, "peft=lora", "epochs=2", "tracking=online", "rollout=vllm_server"]
    config = load_config(words)
    small = load_config(small_words(config, words, 2, tmp_path))  # a word that nothing reads would be refused here
    differ = {
        f"{section}.{key}"
        for section, values in config.model_dump().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if small.model_dump()[section][key] != value
    }
    assert differ == {
        *("model.source", "model.path"),
        *("hardware.device", "hardware.threads", "hardware.n_processes", "hardware.accelerate_config"),
        *("rollout.max_new_tok", "rollout.server_url", "algo.max_steps", "algo.epochs"),
        *("tracking.wandb", "tracking.save_every_steps"),
        *("tracking.n_probe_harmful", "tracking.n_probe_harmless", "tracking.n_header_pairs"),
    }


def test_a_run_that_would_not_start_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"= 62 is not divisible by micro_batch x n_processes = 8"):
        main([*DEEPTHOUGHT, "requests_per_step=62", f"runs_dir={tmp_path / 'runs'}"])
    assert not (tmp_path / "runs").exists()


def test_the_launch_file_keeps_all_but_device_and_machines(tmp_path: Path) -> None:
    config = load_config(["model=llama3", "hardware=a100x16"])
    save_launch_file(config, 4, tmp_path / "launch.yaml")
    own = yaml.safe_load(Path("launch/accelerate_zero3_2x8gpu.yaml").read_text())
    small = yaml.safe_load((tmp_path / "launch.yaml").read_text())
    assert small == {**own, "use_cpu": True, "num_machines": 1, "num_processes": 4}
    # a file that does not fit the run's processes stays one
    save_launch_file(load_config([*DEEPTHOUGHT, "n_processes=2"]), 1, tmp_path / "launch.yaml")
    assert yaml.safe_load((tmp_path / "launch.yaml").read_text())["num_processes"] == 2


def test_what_is_left_out_is_said() -> None:
    said = "\n".join(unrehearsed(load_config(["model=llama3", "hardware=a100x16", "judge=wildguard"]), 4))
    for part in ("CUDA", "own weights", "max_new_tok=512: 40", "16 processes: 4", "2 machines: one", "judge=wildguard"):
        assert part in said
    assert "is not in the hub's cache" in said
    said = "\n".join(unrehearsed(load_config(["hardware=cpu", "max_new_tok=20"]), 1))
    assert "processes" not in said and "max_new_tok" not in said and "judge" not in said


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["step 1/4  ETA", "error: cannot save to x: no space left"], "error: cannot save to x: no space left"),
        (["[rank1]: RuntimeError: shapes differ", "torch.elastic ChildFailedError: "], "RuntimeError: shapes differ"),
        (["ValueError: bad", "subprocess.CalledProcessError: Command"], "ValueError: bad"),
        (["ok       gpu  none", "failed   parser  no reward", "1 failed"], "failed   parser  no reward"),
        (["Killed"], "Killed"),
        ([], "nothing"),
    ],
)
def test_a_failure_is_told_in_the_words_of_the_run_and_not_of_its_launcher(lines: list[str], error: str) -> None:
    assert error_of(lines) == error


def rehearsal(tmp_path: Path) -> Rehearsal:
    words = [*tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")), "micro_batch=1"]
    return Rehearsal(load_config(words), words, 1, tmp_path)


def test_after_a_stage_that_fails_none_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rehearsal, "_stand_in", lambda _: "made")
    monkeypatch.setattr(rehearsing, "sys", type("Sys", (), {"executable": "/bin/false"}))
    seen = [(stage.stage, stage.state, stage.seen) for stage in rehearsal(tmp_path).stages()]
    assert seen == [("model", "rehearsed", "made"), ("doctor", "failed", "nothing")]


def test_what_the_machine_lacks_is_no_failure_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rehearsal, "_stand_in", lambda _: "made")
    monkeypatch.setattr(Rehearsal, "_verb", lambda *_: "done")
    monkeypatch.setattr(rehearsing, "absent", lambda _: ["vllm is not installed: pip install it"])
    last = [*rehearsal(tmp_path).stages()][-1]
    assert (last.stage, last.state, last.seen) == ("machine", "not rehearsed", "vllm is not installed: pip install it")


@pytest.mark.slow
def test_a_run_is_rehearsed_from_its_start_to_its_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    words = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model"))
    assert main(words) == 0, capsys.readouterr().out
    (file,) = tmp_path.glob(f"runs/rehearsals/tiny-*/{RESULT}")
    values = json.loads(file.read_text())
    assert values["state"] == "rehearsed" and {stage["state"] for stage in values["stages"]} == {"rehearsed"}
    seen = {stage["stage"]: stage["seen"] for stage in values["stages"]}
    assert "the newest whole checkpoint is of step" in seen["SIGKILL"] and "to step 4" in seen["train"]
    assert (file.parent / "runs" / "run" / "export" / "README.md").is_file()
