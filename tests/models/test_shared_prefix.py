"""Prefixes that are held once: the same completions as with a copy per row, also when rows and prefixes end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from training.tiny import tiny_llama
from transformers import AttentionInterface

from cada_trl.models.cpu_decoding import NAME, decoding_attention, grouped_attention
from cada_trl.models.sampling import generate_with_shared_prefixes, most_likely, sampled
from cada_trl.models.shared_prefix import after_prefixes

PROMPTS = [[1, 20, 21, 22, 30], [1, 40, 41, 42], [1, 20, 21, 22, 31, 32, 33], [1, 50], [1, 40, 43], [1, 20, 21, 22, 34]]
GROUPS = ["a", "b", "a", "c", "b", "a"]
MODEL = tiny_llama()


def _completions(ends: set[int], groups: list[str] = GROUPS) -> list[list[int]]:
    return generate_with_shared_prefixes(MODEL, PROMPTS, groups, most_likely, ends, [8] * len(PROMPTS))


@pytest.mark.parametrize("groups", [GROUPS, list("aaaaaa"), list("abcdef"), list("xyxyxy")])
def test_rows_get_what_they_get_with_a_prefix_of_their_own(groups: list[str]) -> None:
    copied = _completions(set(), groups)
    with decoding_attention(MODEL):
        assert _completions(set(), groups) == copied


def test_rows_and_prefixes_that_end_leave_the_others_as_they_were() -> None:
    whole = _completions(set())
    ends = {whole[0][2], whole[1][4], whole[4][1], whole[3][3]}
    copied = _completions(ends)
    assert len({len(ids) for ids in copied}) > 2
    with decoding_attention(MODEL):
        assert _completions(ends) == copied


def test_every_prefix_is_held_once_and_let_go_with_its_last_row() -> None:
    with decoding_attention(MODEL), after_prefixes(MODEL, [[1, 20, 21], [1, 40]], [0, 1, 0, 0]) as before:
        assert before.mask_bt.shape == (4, 0)
        assert before.n_tok_b.tolist() == [3, 2, 3, 3]
        held = before.keep.__self__  # type: ignore[attr-defined]
        assert held._layers[0].keys.shape[0] == 2
        before.keep(torch.tensor([0, 2, 3]))
        assert held._layers[0].keys.shape[0] == 1


def test_a_prefix_passes_no_head_beside_an_adapter_either() -> None:
    heads: list[int] = []
    model: Any = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    model.get_base_model().lm_head.register_forward_hook(lambda *_: heads.append(1))
    with decoding_attention(model), after_prefixes(model, [[1, 20, 21]], [0, 0]) as before:
        assert before.n_tok_b.tolist() == [3, 3] and heads == []


def test_outside_of_our_attention_every_row_has_a_copy() -> None:
    with after_prefixes(MODEL, [[1, 20, 21], [1, 40]], [0, 1, 0]) as before:
        assert before.mask_bt.tolist() == [[1, 1, 1], [0, 1, 1], [1, 1, 1]]
        assert before.cache.layers[0].keys.shape[0] == 3


def test_a_model_with_a_sliding_window_keeps_a_copy_per_row() -> None:
    model = tiny_llama()
    model.config.sliding_window = 4
    with decoding_attention(model), after_prefixes(model, [[1, 20, 21], [1, 40]], [0, 1, 0]) as before:
        assert before.mask_bt.shape == (3, 3)


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(RuntimeError, match="not finite"):
        sampled(1.0)(torch.tensor([[0.0, float("nan"), 1.0]]))


def test_our_attention_is_the_plain_one_again_afterwards_and_after_an_error() -> None:
    with decoding_attention(MODEL):
        with pytest.raises(ValueError, match="stop"), after_prefixes(MODEL, [[1, 20]], [0]):
            assert AttentionInterface()[NAME] is not grouped_attention
            raise ValueError("stop")
        assert AttentionInterface()[NAME] is grouped_attention
