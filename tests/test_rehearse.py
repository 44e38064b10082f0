"""rehearse: what is made small, what is said of the rest, and a whole rehearsal of a tiny model."""

import json
import sys

import pytest
from end_to_end.tiny_model import tiny_overrides

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.rehearse import RESULT, main, ranks_that_fit, small_words, unrehearsed

DEEPTHOUGHT = ["model=deepthought", "hardware=a100x4"]


@pytest.mark.parametrize(
    ("words", "free_gb", "n_cores", "n_ranks"),
    [
        (DEEPTHOUGHT, 100.0, 16, 4),
        (DEEPTHOUGHT, 5.9, 16, 2),  # three fit, and do not divide four
        (DEEPTHOUGHT, 0.1, 16, 1),
        (DEEPTHOUGHT, 100.0, 3, 2),
        (DEEPTHOUGHT, 100.0, 1, 2),  # ranks that wait for each other are what is rehearsed
        ([*DEEPTHOUGHT, "peft=lora"], 10.0, 16, 2),
        ([*DEEPTHOUGHT, "rollout=vllm_colocate"], 10.0, 16, 2),
        ([*DEEPTHOUGHT, "peft=lora", "rollout=vllm_colocate"], 10.0, 16, 1),
        (["model=llama3", "hardware=a100x16"], 100.0, 16, 16),
        (["hardware=cpu"], 100.0, 16, 1),
    ],
)
def test_as_many_of_the_runs_processes_are_started_as_memory_and_cores_hold(words, free_gb, n_cores, n_ranks):
    assert ranks_that_fit(load_config(words), free_gb, n_cores) == n_ranks


def test_only_device_size_and_places_differ_from_the_run(tmp_path):
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


def test_what_is_left_out_is_said():
    said = "\n".join(unrehearsed(load_config(["model=llama3", "hardware=a100x16", "judge=wildguard"]), 4))
    for part in ("CUDA", "own weights", "max_new_tok=512: 40", "16 processes: 4", "2 machines: one", "judge=wildguard"):
        assert part in said
    assert "is not in the hub's cache" in said
    said = "\n".join(unrehearsed(load_config(["hardware=cpu", "max_new_tok=20"]), 1))
    assert "processes" not in said and "max_new_tok" not in said and "judge" not in said


@pytest.mark.parametrize("judge", ["llamaguard3", "[phrases,classifier]"])
def test_a_judge_that_the_run_refuses_is_refused_and_not_replaced(tmp_path, judge):
    with pytest.raises(UserError, match="reward"):
        main([f"judge={judge}", f"runs_dir={tmp_path}", "n_train=5000"])  # refused, too, but later


@pytest.mark.slow
def test_a_run_is_rehearsed_from_its_start_to_its_export(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    words = tiny_overrides(tmp_path, tiny)
    assert main(words) == 0, capsys.readouterr().out
    (file,) = tmp_path.glob(f"runs/rehearsals/tiny-*/{RESULT}")
    values = json.loads(file.read_text())
    assert values["state"] == "rehearsed" and {stage["state"] for stage in values["stages"]} == {"rehearsed"}
    seen = {stage["stage"]: stage["seen"] for stage in values["stages"]}
    assert "the newest whole checkpoint is of step" in seen["SIGKILL"] and "to step 4" in seen["train"]
    assert (file.parent / "runs" / "run" / "export" / "README.md").is_file()
