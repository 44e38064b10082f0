"""The nearest change that fits: as few as possible, and it really fits."""

from __future__ import annotations

import shlex

import pytest

from cada_trl.config import load_config
from cada_trl.planning.fitting import nearest_fit
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of

TOO_LARGE = [
    ["model=llama3"],
    ["model=llama3", "hardware=a100x4_40gb"],
    ["model=deepthought", "hardware=a100x4_40gb", "rollout=vllm_colocate"],
    ["model=llama3", "hardware=a100x4", "gradient_checkpointing=false", "micro_batch=16"],
]


@pytest.mark.parametrize("overrides", TOO_LARGE, ids=" ".join)
def test_the_change_fits_when_it_is_typed_after_the_runs_own_words(overrides: list[str]) -> None:
    config = load_config(overrides)
    shape = shape_of(config.model)
    assert plan_memory(config, shape).fits is False
    found = nearest_fit(config, shape)
    assert found is not None
    words, plan = found
    changed = load_config([*overrides, *shlex.split(words)])
    assert plan.fits
    assert plan_memory(changed, shape) == plan


def test_what_only_costs_time_comes_before_other_hardware_and_lora() -> None:
    config = load_config(TOO_LARGE[-1])
    found = nearest_fit(config, shape_of(config.model))
    assert found is not None
    assert found[0] == "gradient_checkpointing=true"


def test_a_change_that_the_configuration_refuses_is_passed_over() -> None:
    """24 rollouts cannot be cut into micro-batches of 7, 5 or over 16 processes."""
    config = load_config(["model=llama3", "hardware=a100x4_40gb", "requests_per_step=24"])
    found = nearest_fit(config, shape_of(config.model))
    assert found is not None
    assert "a100x16" not in found[0]


def test_nothing_is_promised_where_nothing_fits() -> None:
    config = load_config(["model=llama3_70b", "hardware=a100x4"])
    assert nearest_fit(config, shape_of(config.model)) is None
