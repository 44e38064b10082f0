"""TRL's generation class is replaced only while a trainer is built, and stale weights end the run in one line."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from training.tiny import tiny_llama

from cada_trl.errors import UserError
from cada_trl.rollouts.generation import TOLERANCE_NATS, checked_gap_nats, checked_generation, replaced, trainer_logp


def test_a_name_is_put_back_also_after_an_error() -> None:
    module = SimpleNamespace(name=1)
    with pytest.raises(RuntimeError), replaced(module, "name", 2):
        assert module.name == 2
        raise RuntimeError
    assert module.name == 1


def test_without_vllm_nothing_of_it_is_imported() -> None:
    with checked_generation(False):
        assert "cada_trl.rollouts.in_vllm" not in sys.modules


def test_trl_still_has_the_names_that_are_replaced() -> None:
    from trl.generation import vllm_generation
    from trl.trainer import grpo_trainer, rloo_trainer

    for trainer in (grpo_trainer, rloo_trainer):
        assert trainer.VLLMGeneration is vllm_generation.VLLMGeneration
    assert hasattr(vllm_generation, "VLLMClient")


IDS = [1, 20, 21, 22, 30, 2]


def test_the_trainers_log_probabilities_are_those_of_each_next_token() -> None:
    model = tiny_llama()
    logits_tv = model(input_ids=torch.tensor([IDS])).logits[0]
    wanted = [logits_tv[t].log_softmax(-1)[IDS[t + 1]].item() for t in range(len(IDS) - 1)]
    assert trainer_logp(model, IDS) == pytest.approx(wanted, abs=1e-6)


def test_the_gap_is_the_mean_of_the_absolute_differences() -> None:
    assert checked_gap_nats([-1.0, -2.0], [-1.1, -1.9], torch.bfloat16) == pytest.approx(0.1)


def test_equal_weights_pass() -> None:
    logp = trainer_logp(tiny_llama(), IDS)
    assert checked_gap_nats(logp, trainer_logp(tiny_llama(), IDS), torch.float32) == 0.0


def test_weights_that_one_update_has_left_behind_are_found() -> None:
    trained = tiny_llama()
    stale = trainer_logp(trained, IDS)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=5e-5)
    trained(input_ids=torch.tensor([IDS]), labels=torch.tensor([IDS])).loss.backward()
    optimizer.step()
    with pytest.raises(UserError) as error:
        checked_gap_nats(trainer_logp(trained, IDS), stale, torch.float32)
    assert "vLLM does not have the trainer's weights after a sync" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", list(TOLERANCE_NATS))
def test_a_log_probability_that_is_no_number_is_a_gap(dtype: torch.dtype) -> None:
    with pytest.raises(UserError, match="differ by nan"):
        checked_gap_nats([-1.0, -2.0], [-1.0, math.nan], dtype)


def test_a_score_that_is_missing_is_no_agreement() -> None:
    with pytest.raises(ValueError, match="shorter"):
        checked_gap_nats([-1.0, -2.0], [-1.0], torch.float32)
