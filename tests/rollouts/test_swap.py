"""TRL's generation class is replaced only while a trainer is built."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from cada_trl.rollouts.swap import checked_generation, replaced


def test_a_name_is_put_back_also_after_an_error() -> None:
    module = SimpleNamespace(name=1)
    with pytest.raises(RuntimeError), replaced(module, "name", 2):
        assert module.name == 2
        raise RuntimeError
    assert module.name == 1


def test_without_vllm_nothing_of_it_is_imported() -> None:
    with checked_generation(False):
        assert "cada_trl.rollouts.generation" not in sys.modules


def test_trl_still_has_the_names_that_are_replaced() -> None:
    from trl.generation import vllm_generation
    from trl.trainer import grpo_trainer, rloo_trainer

    for trainer in (grpo_trainer, rloo_trainer):
        assert trainer.VLLMGeneration is vllm_generation.VLLMGeneration
    assert hasattr(vllm_generation, "VLLMClient")
