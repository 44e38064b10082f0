"""Samplers made to end each row at a preset length, without a change to how they work: for trainers side by side.

Lengths are in tokens, one per row. transformers and our decoding loop end at the end token, which is forced where a
length is reached and forbidden before; vLLM gets a limit a row and ignores the end token.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.trainers import EOS
from cada_trl.models.sampling import Choose, sampled


def ended(logits_bv: Tensor, lengths_b: Sequence[int], n_said: int) -> Tensor:
    """The logits with the end token forced in rows whose last token is next, and forbidden in the others."""
    last_b = torch.tensor([n_said + 1 == length for length in lengths_b], device=logits_bv.device)
    logits_bv = logits_bv.clone()
    logits_bv[~last_b, EOS] = -torch.inf
    logits_bv[last_b] = torch.where(torch.arange(logits_bv.shape[1]) == EOS, 0.0, -torch.inf).to(logits_bv)
    return logits_bv


def loop_ending_at(lengths: Sequence[int]) -> Any:
    """`sampled` of our decoding loop, from which a row leaves once it has its length."""

    def sampled_to_length(temperature: float, top_p: float) -> Choose:
        choose, n_said = sampled(temperature, top_p), 0

        def choose_to_length(logits_bv: Tensor) -> Tensor:
            nonlocal n_said
            going = [length for length in lengths if length > n_said]
            token_b = choose(ended(logits_bv, going, n_said))
            n_said += 1
            return token_b

        return choose_to_length

    return sampled_to_length


def generate_ending_at(generate: Any, lengths: Sequence[int]) -> Any:
    """transformers' generate, which keeps every row to the last one's end."""
    from transformers import LogitsProcessorList

    def generate_to_length(**kwargs: Any) -> Any:
        n_prompt = kwargs["input_ids"].shape[1]

        def processor(ids_bt: Tensor, logits_bv: Tensor) -> Tensor:
            return ended(logits_bv, lengths, ids_bt.shape[1] - n_prompt)

        return generate(**kwargs, logits_processor=LogitsProcessorList([processor]))

    return functools.wraps(generate)(generate_to_length)


@contextmanager
def vllm_ending_at(prompts: Sequence[list[int]], lengths: Sequence[int]) -> Iterator[None]:
    """Inside, vLLM's LLM gives each of these prompts its length, in whatever order they come; others are untouched."""
    from vllm import LLM

    length_of, generate = {tuple(ids): n for ids, n in zip(prompts, lengths, strict=True)}, LLM.generate

    def generate_to_length(llm: Any, asked: Any, params: Any = None, **kwargs: Any) -> Any:
        params = kwargs.pop("sampling_params", params)
        rows = params if isinstance(params, list) else [params.clone() for _ in asked]
        for prompt, own in zip(asked, rows, strict=True):
            if (length := length_of.get(tuple(prompt["prompt_token_ids"]))) is not None:
                own.max_tokens, own.ignore_eos, own.stop_token_ids = length, True, []
        return generate(llm, asked, rows, **kwargs)

    with patch.object(LLM, "generate", generate_to_length):
        yield
