"""Preset lengths: the end token by length, and a limit a prompt on whatever LLM vLLM's module has."""

import sys
from copy import copy
from types import ModuleType, SimpleNamespace

import pytest
import torch

from benchmarks.forced_lengths import ended, vllm_ending_at
from benchmarks.trainers import EOS


def test_the_end_is_forced_where_a_length_is_reached_and_forbidden_before():
    logits_bv = ended(torch.zeros(2, 5), [3, 4], n_said=2)
    assert logits_bv[0].argmax() == EOS and logits_bv[0].isfinite().sum() == 1
    assert logits_bv[1, EOS] == -torch.inf and logits_bv[1].isfinite().sum() == 4


class Params(SimpleNamespace):
    """As much of vLLM's SamplingParams as is touched."""

    def clone(self):
        return copy(self)


class LLM:
    """Gives what it was asked for."""

    def generate(self, prompts, sampling_params, use_tqdm=True):
        return [(own.max_tokens, own.stop_token_ids) for own in sampling_params]


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    module = ModuleType("vllm")
    module.LLM = LLM
    monkeypatch.setitem(sys.modules, "vllm", module)


def asked(*prompts):
    return [{"prompt_token_ids": ids} for ids in prompts]


@pytest.mark.parametrize("listed", [False, True])
def test_a_prompt_has_its_length_in_any_order_and_another_prompt_keeps_its_own(listed):
    params = Params(max_tokens=99, stop_token_ids=[EOS], ignore_eos=False)
    given = [params.clone() for _ in range(3)] if listed else params
    with vllm_ending_at([[5, 6], [7]], [12, 30]):
        seen = LLM().generate(asked([7], [8], [5, 6]), sampling_params=given, use_tqdm=False)
    assert seen == [(30, []), (99, [EOS]), (12, [])]
    assert params.max_tokens == 99
