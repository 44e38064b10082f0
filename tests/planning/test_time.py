"""The time estimate: operations by hand, and what bounds it."""

from __future__ import annotations

import pytest

from cada_trl.config import load_config
from cada_trl.planning.shapes import Lengths, Shape, longest, shape_of
from cada_trl.planning.time import (
    PREFILL_EFFICIENCY,
    TRANSFORMERS_TOKEN_S,
    StepTime,
    estimate_step,
    rollout_tflop,
    update_tflop,
)

SMALL = Shape(vocab=1000, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=128, tied=True)
LENGTHS = Lengths(rollout_prompt_tok=30, learn_prompt_tok=10, completion_tok=20)


@pytest.mark.parametrize(
    ("words", "a_weight"),
    [
        (["beta_kl=0.0", "benign_beta_kl=null", "sampled_by=policy"], 6),
        ([], 8),
        (["gradient_checkpointing=true"], 10),
        (["peft=lora"], 6),
    ],
)
def test_operations_a_token_and_weight(words: list[str], a_weight: int) -> None:
    config = load_config(["requests_per_step=8", "micro_batch=2", "benign_frac=0", *words])
    assert update_tflop(config, SMALL, LENGTHS) == pytest.approx(a_weight * SMALL.n_params * 8 * 30 / 1e12)
    assert rollout_tflop(config, SMALL, LENGTHS) == pytest.approx(2 * SMALL.n_params * 8 * 50 / 1e12)


ANCHORED = ["requests_per_step=8", "micro_batch=2", "benign_frac=0.25", "benign_tok=3"]


def test_anchors_have_a_short_completion_after_the_raw_request() -> None:
    config = load_config(ANCHORED)
    # six judged rollouts of 10 + 20 tokens and two anchors of 10 + 3; sampled on 30, but the anchors on 10
    assert update_tflop(config, SMALL, LENGTHS) == pytest.approx(8 * SMALL.n_params * (6 * 30 + 2 * 13) / 1e12)
    assert rollout_tflop(config, SMALL, LENGTHS) == pytest.approx(2 * SMALL.n_params * (6 * 50 + 2 * 13) / 1e12)
    same = load_config([*ANCHORED, "benign_arm=same"])
    assert rollout_tflop(same, SMALL, LENGTHS) == pytest.approx(2 * SMALL.n_params * (6 * 50 + 2 * 33) / 1e12)


def _step(*words: str) -> StepTime:
    config = load_config([*words])
    step = estimate_step(config, shape_of(config.model))
    assert step is not None
    return step


def _decoding_s(*words: str) -> float:
    """Seconds that a step's sampling takes beyond its operations, on a card."""
    words = ("model=llama3", "hardware=a100x4", "rollout=transformers", *words)
    config = load_config([*words])
    n_tflop = rollout_tflop(config, shape_of(config.model), longest(config))
    return _step(*words).rollouts_s - n_tflop / (312 * 4 * PREFILL_EFFICIENCY)


def test_the_rollouts_of_several_steps_are_decoded_side_by_side() -> None:
    assert _decoding_s() == pytest.approx(TRANSFORMERS_TOKEN_S * load_config(["model=llama3"]).rollout.max_new_tok)
    assert _decoding_s("steps_per_rollout=5", "save_every_steps=5") == pytest.approx(_decoding_s() / 5)


def test_anchors_are_decoded_after_the_others() -> None:
    more = _decoding_s("benign_frac=0.5", "benign_tok=8") - _decoding_s("benign_frac=0.5")
    assert more == pytest.approx(8 * TRANSFORMERS_TOKEN_S)


def test_twice_the_rollouts_take_twice_the_update() -> None:
    one, two = (_step("model=llama3", "hardware=a100x4", f"rollouts_per_request={n}") for n in (1, 2))
    assert two.update_s == pytest.approx(2 * one.update_s)


def test_decoding_cannot_be_faster_than_the_weights_are_read() -> None:
    words = ["model=llama3_70b", "hardware=a100x16", "rollout=vllm_colocate"]
    assert _step(*words).rollouts_s > load_config(words).rollout.max_new_tok * 139e9 / 2039e9


def test_a_gpu_that_is_not_named_has_no_estimate() -> None:
    config = load_config(["model=llama3", "hardware=gpu"])
    assert estimate_step(config, shape_of(config.model)) is None
