"""Whole runs under ZeRO on two CPU ranks: from the launch files, and one that loses a rank and a checkpoint."""

import importlib.util
import json

import psutil
import pytest
from safetensors.torch import load_file

from cada_trl.errors import UserError
from cada_trl.train import main
from cada_trl.training.checkpoints import newest_complete

from .run_process import finish, manifest, start, steps, wait_for_steps
from .tiny_model import save_tiny_model, tiny_overrides

N_STEPS = 8
# An embedding and MLPs of more numbers than ZeRO-3 leaves whole (DeepSpeed's default: 100,000).
WIDE = {"hidden_size": 400, "intermediate_size": 800}
ZERO = ["launcher=accelerate", "n_processes=2", "micro_batch=1"]
ZERO3 = [*ZERO, "accelerate_config=launch/cpu_zero3.yaml"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs the extra [deepspeed]"),
]


def test_sft_with_lora_samples_its_targets_and_trains_from_zero2s_launch_file(tmp_path):
    overrides = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model"))
    overrides = [word for word in overrides if not word.startswith("baseline=")]
    words = ["algo=sft_direct_refusal", "peft=lora", *ZERO, "accelerate_config=launch/cpu_zero2.yaml"]
    code, said = finish(start([*overrides, *words]))
    assert code == 0, said
    run = tmp_path / "runs" / "tiny"
    assert manifest(run)["exit_state"] == "done" and steps(run) == [1, 2]
    assert all(weight.isfinite().all() for weight in load_file(run / "final" / "adapter_model.safetensors").values())


def test_under_zero3_a_dead_rank_ends_the_run_and_it_goes_on_from_the_last_whole_checkpoint(tmp_path, capfd):
    model = save_tiny_model(tmp_path / "model", **WIDE)
    overrides = [*tiny_overrides(tmp_path, model), f"max_steps={N_STEPS}", "save_every_steps=2", "lr=1e-4"]
    run = tmp_path / "runs" / "tiny"
    process = start([*overrides, *ZERO3])
    wait_for_steps(process, 5)
    ranks = [one for one in psutil.Process(process.pid).children(recursive=True) if "LOCAL_RANK" in one.environ()]
    next(one for one in ranks if one.environ()["LOCAL_RANK"] == "1").kill()
    assert finish(process)[0] not in {0, 75}
    assert not psutil.wait_procs(ranks, timeout=60)[1]
    newest = newest_complete(run / "checkpoints", tidy=False)
    assert newest is not None and newest[1] >= 4
    checkpoint, step = newest
    shard = next((checkpoint / f"global_step{step}").glob("*optim_states.pt"))
    shard.write_bytes(shard.read_bytes()[:-1])

    with pytest.raises(UserError, match=r"was saved by 2 process\(es\) and this run has 1; set n_processes=2"):
        main(overrides)
    assert f"{checkpoint} is not whole" in capfd.readouterr().err and not checkpoint.exists()

    code, said = finish(start([*overrides, *ZERO3]))
    assert code == 0 and f"goes on from step {step - 2}: " in said, said
    assert steps(run) == list(range(1, N_STEPS + 1)) and manifest(run)["exit_state"] == "done"
    embedding = load_file(run / "final" / "model.safetensors")["model.embed_tokens.weight"]
    assert embedding.shape[1] == WIDE["hidden_size"] and embedding.isfinite().all()
    for name in ("before", "after"):
        probes = [json.loads(line) for line in (run / "probes" / f"{name}.jsonl").read_text().splitlines()]
        assert len(probes) == 8
