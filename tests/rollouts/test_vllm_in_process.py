"""Trainings with vLLM in the process: stopped and started again one ends whole, and an adapter reaches it alone."""

import signal

from end_to_end.run_process import finish, interrupted, manifest, start, steps
from end_to_end.tiny_model import save_tiny_model, tiny_overrides
from safetensors.torch import load_file

from cada_trl.records import read_jsonl

from .conftest import NEEDS_VLLM

pytestmark = NEEDS_VLLM
N_STEPS = 6
SHAPE = {"head_dim": 32}  # heads that vLLM's CPU attention has a kernel for


def test_a_run_that_was_stopped_goes_on_to_a_sound_end(tmp_path):
    model = save_tiny_model(tmp_path / "model", **SHAPE)
    overrides = [*tiny_overrides(tmp_path, model), "rollout=vllm_colocate", f"max_steps={N_STEPS}"]
    run = tmp_path / "runs" / "tiny"
    code, said = interrupted(overrides, 2, signal.SIGTERM)
    assert code == 75, said
    assert len(steps(run)) < N_STEPS
    code, said = finish(start(overrides))
    assert code == 0, said
    assert "goes on from step" in said
    assert steps(run) == list(range(1, N_STEPS + 1)) and manifest(run)["exit_state"] == "done"
    assert all(row["train/sync_gap_nats"] < 1e-4 for _, row in read_jsonl(run / "train.jsonl"))
    assert all(weight.isfinite().all() for weight in load_file(run / "final" / "model.safetensors").values())


def test_an_adapter_reaches_vllm_in_the_process(tmp_path):
    model = save_tiny_model(tmp_path / "model", **SHAPE)
    code, said = finish(start([*tiny_overrides(tmp_path, model), "peft=lora", "rollout=vllm_colocate"]))
    assert code == 0 and "Traceback" not in said, said
    run = tmp_path / "runs" / "tiny"
    assert steps(run) == [1, 2] and manifest(run)["exit_state"] == "done"
    assert all(row["train/sync_gap_nats"] < 1e-4 for _, row in read_jsonl(run / "train.jsonl"))
