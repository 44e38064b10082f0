"""Sampling with shared prefixes: the same completions as plain generation, whatever the groups."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from cada_trl.trainers.prefix_generation import generate_with_shared_prefixes

from .tiny import EOT, PAD, tiny_llama

PROMPTS = [[1, 20, 21, 22, 30], [1, 20, 21, 22, 31, 32, 33], [1, 40, 41, 42], [1, 40, 43], [1, 50]]
GREEDY = GenerationConfig(do_sample=False, max_new_tokens=6, pad_token_id=PAD, eos_token_id=EOT)


def _plain(prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    output = tiny_llama().generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=GREEDY)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("groups", ["aabbc", "aaaaa", "abcde", "xyxyx"])
def test_every_row_gets_what_it_gets_alone(groups: str) -> None:
    with torch.no_grad():
        completion_bt = generate_with_shared_prefixes(tiny_llama(), PROMPTS, list(groups), GREEDY, PAD)
    for prompt, row in zip(PROMPTS, completion_bt.tolist(), strict=True):
        alone = _plain(prompt)
        assert row[: len(alone)] == alone
        assert set(row[len(alone) :]) <= {PAD}


def test_equal_prompts_keep_their_last_token_out_of_the_prefix() -> None:
    with torch.no_grad():
        completion_bt = generate_with_shared_prefixes(tiny_llama(), [PROMPTS[0]] * 3, "aaa", GREEDY, PAD)
    alone = _plain(PROMPTS[0])
    assert [row[: len(alone)] for row in completion_bt.tolist()] == [alone] * 3
