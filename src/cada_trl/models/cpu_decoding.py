"""What makes decoding quick: a key-value cache that grows in place, and on a CPU attention and products of our own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import eager_mask

BLOCK_TOK = 128
NAME = "cada_grouped"
N_ROWS = 16  # oneDNN's hint; weights ordered for 8 and for 32 rows were equally quick at 1 to 64, for 1 row slower


class GrowingLayer(DynamicLayer):
    """keys and values are views of the filled part of larger buffers, which grow in blocks: transformers' own layer
    copies every key and value at every new token."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [B, H, n, D]; returns what is filled."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._n_tok = 0
            self._buffers = [state[:, :, :0] for state in (key_states, value_states)]
        end = self._n_tok + key_states.shape[2]
        if end > self._buffers[0].shape[2]:
            self._buffers = [self._longer(buffer, end + BLOCK_TOK) for buffer in self._buffers]
        for buffer, state in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._n_tok : end] = state
        self._n_tok = end
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row may come several times."""
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self._show()

    def _longer(self, buffer: Tensor, n_tok: int) -> Tensor:
        longer = buffer.new_empty((*buffer.shape[:2], n_tok, buffer.shape[3]))
        longer[:, :, : self._n_tok] = buffer[:, :, : self._n_tok]
        return longer

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (buffer[:, :, : self._n_tok] for buffer in self._buffers)
        return self.keys, self.values


def growing_cache() -> Cache:
    """An empty cache; its layers come with the first forward pass."""
    return Cache(layer_class_to_replicate=GrowingLayer)


class Prefix(Protocol):
    """Keys and values before the rows' own, by layer: queries [B, k, Q, D] -> scores [B, k, Q, P] -> values."""

    def scores(self, layer: int, query_bkqd: Tensor) -> Tensor: ...
    def values(self, layer: int, weights_bkqp: Tensor) -> Tensor: ...


def grouped_attention(
    module: Any,
    query_bhqd: Tensor,
    key_bktd: Tensor,
    value_bktd: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    prefix: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of h query heads on k shared key heads -> [B, Q, h, D], transformers' attention interface.

    The query heads that share keys are multiplied in one product and nothing is copied. transformers' eager attention
    first copies keys and values once per query head (three times for SmolLM2), and torch's CPU flash kernel is slow at
    one query against a long cache: at 24 rows of 300 tokens each they took twice the time.

    attention_mask: [B, 1, Q, T], added to the scores. prefix: what each row's own keys follow, held elsewhere.
    dropout is not applied: this is for decoding.
    """
    n_b, n_h, n_q, _ = query_bhqd.shape
    n_k, n_t = key_bktd.shape[1:3]
    query = (query_bhqd * scaling).reshape(n_b, n_k, n_h // n_k * n_q, -1)
    # In float32: under autocast to bfloat16 the float32 mask's lowest number would round to -inf, a pad's row to nan.
    scores = torch.matmul(query, key_bktd.transpose(2, 3)).view(n_b, n_k, n_h // n_k, n_q, n_t).float()
    if attention_mask is not None:
        scores += attention_mask[:, :, None]
    scores = scores.view(n_b, n_k, -1, n_t)
    if prefix is not None:
        scores = torch.cat([prefix.scores(module.layer_idx, query), scores], dim=-1)
    weights = scores.softmax(-1).to(value_bktd.dtype)
    values = torch.matmul(weights[..., -n_t:], value_bktd)
    if prefix is not None:
        values = values + prefix.values(module.layer_idx, weights[..., :-n_t])
    return values.view(n_b, n_h, n_q, -1).transpose(1, 2).contiguous(), None


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """grouped_attention inside the context, on CPU; the model's own elsewhere, and again afterwards.

    Models that transformers keeps from SDPA keep their own attention here too: it is more than softmax and mask.
    """
    if model.device.type != "cpu" or not model._supports_sdpa:
        yield
        return
    before = model.config._attn_implementation
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def packed_linear(model: PreTrainedModel) -> Iterator[None]:
    """Inside the context the model's linear layers multiply by copies of today's weights, without a gradient, that
    oneDNN has put into its own order once; in autocast's dtype where it is on. Nothing changes off an x86 CPU.

    For one token of 8 rows of SmolLM2-135M torch's own products took 73 ms and those with ordered weights 41 (one
    thread of an AMD EPYC, float32; bfloat16: 41 and 24). Ordering takes 0.3 s, and a copy's memory.
    """
    changed = [module for module in model.modules() if type(module) is torch.nn.Linear and _takes(module.weight)]
    before = [vars(module).get("forward") for module in changed]  # the scorer sets one on the head
    try:
        for module in changed:
            vars(module)["forward"] = _product(module)
        yield
    finally:
        for module, forward in zip(changed, before, strict=True):
            vars(module).pop("forward", None)
            if forward is not None:
                vars(module)["forward"] = forward


def _takes(weight: Tensor) -> bool:
    measured = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
    return measured and weight.device.type == "cpu" and _dtype(weight) in (torch.float32, torch.bfloat16)


def _dtype(weight: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype


def _product(module: torch.nn.Linear) -> Callable[[Tensor], Tensor]:
    dtype = _dtype(module.weight)
    ops = torch.ops.mkldnn  # what torch.compile calls in a frozen model's linear layers
    weight = ops._reorder_linear_weight(module.weight.detach().to(dtype), N_ROWS)
    bias = None if module.bias is None else module.bias.detach().to(dtype)

    def forward(hidden: Tensor) -> Tensor:
        product: Tensor = ops._linear_pointwise(hidden.to(dtype), weight, bias, "none", [], "")
        return product

    return forward
