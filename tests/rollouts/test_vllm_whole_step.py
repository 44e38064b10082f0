"""The whole-step benchmark with real vLLM: both trainers sample the lengths that its rows ask for."""

import socket
from dataclasses import replace

import pytest

from benchmarks.e2e import CASES, measured

from .conftest import NEEDS_VLLM

pytestmark = NEEDS_VLLM


# CADA in float32 beside vLLM is test_vllm_training.py's.
@pytest.mark.parametrize(("trainer", "bf16"), [("cada", True), ("stock", False)])
def test_each_trainer_samples_the_preset_lengths_with_vllm_and_is_timed(trainer, bf16, monkeypatch):
    with socket.socket() as taken:  # as after another vLLM in this process
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        # The process refuses other lengths itself, and CADA's weight sync checks that vLLM has the trainer's weights.
        seen = measured(replace(CASES, rollout="vllm").work(trainer, "tiny", n_timed=1, bf16=bf16))
    assert len(seen["rollout_cpu_s"]) == len(seen["update_cpu_s"]) == 1
    assert seen["rollout_cpu_s"][0] > 0 and seen["update_cpu_s"][0] > 0
