"""The time estimate: operations by hand, and what bounds it."""

from __future__ import annotations

import pytest

from cada_trl.config import load_config
from cada_trl.planning.lengths import Lengths
from cada_trl.planning.shapes import Shape, shape_of
from cada_trl.planning.time import estimate_step, rollout_tflop, update_tflop

SMALL = Shape(vocab=1000, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=128, tied=True)
LENGTHS = Lengths(rollout_prompt_tok=30, learn_prompt_tok=10, completion_tok=20)


@pytest.mark.parametrize(
    ("words", "a_weight"),
    [
        (["beta_kl=0.0", "benign_beta_kl=null"], 6),
        ([], 8),
        (["gradient_checkpointing=true"], 10),
        (["peft=lora"], 6),
    ],
)
def test_operations_a_token_and_weight(words: list[str], a_weight: int) -> None:
    config = load_config(["requests_per_step=8", "benign_frac=0", *words])
    assert update_tflop(config, SMALL, LENGTHS) == pytest.approx(a_weight * SMALL.n_params * 8 * 30 / 1e12)
    assert rollout_tflop(config, SMALL, LENGTHS) == pytest.approx(2 * SMALL.n_params * 8 * 50 / 1e12)


def test_twice_the_rollouts_take_twice_the_update() -> None:
    def update_s(*words: str) -> float:
        config = load_config(["model=llama3", "hardware=a100x4", *words])
        step = estimate_step(config, shape_of(config.model))
        assert step is not None
        return step.update_s

    assert update_s("rollouts_per_request=2") == pytest.approx(2 * update_s())


def test_decoding_cannot_be_faster_than_the_weights_are_read() -> None:
    config = load_config(["model=llama3_70b", "hardware=a100x16", "rollout=vllm_colocate"])
    step = estimate_step(config, shape_of(config.model))
    assert step is not None
    assert step.rollouts_s > config.rollout.max_new_tok * 139e9 / 2039e9


def test_a_gpu_that_is_not_named_has_no_estimate() -> None:
    config = load_config(["model=llama3", "hardware=gpu"])
    assert estimate_step(config, shape_of(config.model)) is None
