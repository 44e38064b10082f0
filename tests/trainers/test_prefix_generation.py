"""Sampling with shared prefixes: the same completions as plain generation, whatever the groups."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from cada_trl.models.continuation import most_likely
from cada_trl.trainers.prefix_generation import generate_with_shared_prefixes

from .tiny import EOT, PAD, tiny_llama

PROMPTS = [[1, 20, 21, 22, 30], [1, 20, 21, 22, 31, 32, 33], [1, 40, 41, 42], [1, 40, 43], [1, 50]]
GREEDY = GenerationConfig(do_sample=False, max_new_tokens=6, pad_token_id=PAD, eos_token_id=EOT)


def _plain(prompt: list[int]) -> list[int]:
    """What transformers' own generate says to the prompt alone."""
    ids = torch.tensor([prompt])
    output = tiny_llama().generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=GREEDY)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("groups", ["aabbc", "aaaaa", "abcde", "xyxyx"])
def test_every_row_gets_what_it_gets_alone(groups: str) -> None:
    completions = generate_with_shared_prefixes(tiny_llama(), PROMPTS, list(groups), most_likely, {EOT}, [6] * 5)
    assert completions == [_plain(prompt) for prompt in PROMPTS]


def test_each_row_is_cut_at_its_own_number_of_tokens() -> None:
    most = [6, 2, 6, 2, 1]
    completions = generate_with_shared_prefixes(tiny_llama(), PROMPTS, list("aabbc"), most_likely, {EOT}, most)
    assert completions == [_plain(prompt)[:n] for prompt, n in zip(PROMPTS, most, strict=True)]


def test_equal_prompts_keep_their_last_token_out_of_the_prefix() -> None:
    completions = generate_with_shared_prefixes(tiny_llama(), [PROMPTS[0]] * 3, "aaa", most_likely, {EOT}, [6] * 3)
    assert completions == [_plain(PROMPTS[0])] * 3


def test_a_group_runs_its_prefix_once() -> None:
    model, n_tok = tiny_llama(), []
    model.base_model.register_forward_pre_hook(
        lambda _, __, kwargs: n_tok.append(kwargs["input_ids"].shape if "input_ids" in kwargs else None),
        with_kwargs=True,
    )
    generate_with_shared_prefixes(model, PROMPTS[:2] * 4, "aaaaaaaa", most_likely, {EOT}, [1] * 8)
    assert n_tok == [(1, 4), (8, 3)]  # [1, 20, 21, 22] once, then what is left of the eight
