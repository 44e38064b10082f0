"""What makes decoding quick: a key-value cache that grows in place, what rows share at the start run once, and on a CPU
attention of our own, with which that start is also held and read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import eager_mask

from cada_trl.algo.packing import left_padded
from cada_trl.errors import UserError
from cada_trl.models.checks import SUPPORTED
from cada_trl.models.own_logits import unlike_own

BLOCK_TOK = 128
NAME = "cada_grouped"


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


def attended(
    query_bkqd: Tensor, key_bktd: Tensor, value_bktd: Tensor, mask: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Values [B, k, Q, D] and the logarithm of the softmax's denominator [B, k, Q], by which two parts can be joined.

    mask: broadcast to [B, 1, Q, T] and added to the scores, which are never held; with every key masked both are 0. It
    is torch's CPU flash kernel as scaled_dot_product_attention calls it; the public function keeps the denominator.
    """
    dtype = value_bktd.dtype
    if mask is not None:
        mask = mask.to(dtype).expand(-1, -1, query_bkqd.shape[2], -1)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    n_d, n_value = query_bkqd.shape[-1], value_bktd.shape[-1]  # the kernel takes heads of one size
    size = max(n_d, n_value)
    query, key, value = (pad(x.to(dtype), (0, size - x.shape[-1])) for x in (query_bkqd, key_bktd, value_bktd))
    values, log_sum = flash(query, key, value, attn_mask=mask, scale=scaling)
    return values[..., :n_value], log_sum


def grouped_attention(
    module: Any,
    query_bhqd: Tensor,
    key_bktd: Tensor,
    value_bktd: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    prefix: HeldOnce | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of h query heads on k shared key heads -> [B, Q, h, D], transformers' attention interface.

    The query heads that share keys stand in one row of queries, so that nothing is copied: transformers' own attention
    first copies keys and values once per query head (three times for SmolLM2). attention_mask: [B, 1, Q, T], added to
    the scores. prefix: what each row's own keys follow. dropout is not applied: this is for decoding.
    """
    n_b, n_h, n_q, n_d = query_bhqd.shape
    n_k = key_bktd.shape[1]
    query_bkqd = query_bhqd.reshape(n_b, n_k, n_h // n_k * n_q, n_d)
    mask = None if attention_mask is None else attention_mask.repeat(1, 1, n_h // n_k, 1)
    values, log_sum = attended(query_bkqd, key_bktd, value_bktd, mask, scaling)
    if prefix is not None:
        before, before_log_sum = prefix.attended(module.layer_idx, query_bkqd, scaling)
        share = (before_log_sum - log_sum).sigmoid()[..., None]  # of the prefix in the whole softmax
        values = values.lerp(before, share.to(values.dtype))
    return values.reshape(n_b, n_h, n_q, -1).transpose(1, 2).contiguous(), None


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """grouped_attention inside the context, on CPU and where it leaves the model's logits as they are; the model's own
    elsewhere, and again afterwards.

    Models that transformers keeps from SDPA keep their own attention here too: it is more than softmax and mask.
    Errors: UserError for a model whose logits change where rows follow a prefix that was read before.
    """
    before = model.config._attn_implementation
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    try:
        model.set_attn_implementation(_fitting_attention(model))
        yield
    finally:
        model.set_attn_implementation(before)


def _fitting_attention(model: Any) -> str:
    """Found once per model and device, and kept on the model: no later weights end a run, or sample it otherwise."""
    device, own = model.device.type, model.config._attn_implementation
    known_device, known = getattr(model, "cada_decodes_by", (None, own))
    if known_device == device:
        return known
    rows = [torch.tensor([_PREFIX + rest], device=model.device) for rest in _RESTS]
    ours = NAME if device == "cpu" and model._supports_sdpa else own
    with torch.no_grad():
        own_bv = torch.cat([model(row_1s, use_cache=False).logits[:, -1] for row_1s in rows])
        for attention in dict.fromkeys((ours, own)):
            model.set_attn_implementation(attention)
            wrong = unlike_own(model, own_bv, partial(_after_prefix, model))
            if not wrong:
                model.cada_decodes_by = (device, attention)
                return attention
    raise UserError(
        f"{model.config.model_type} gives {wrong} where rows go on from a prefix that was read before, as they are "
        f"sampled here; evaluate it with backend=vllm, and train {SUPPORTED}"
    )


_PREFIX, _RESTS = [0, 1, 2], [[3, 4], [5]]  # of any vocabulary


def _after_prefix(model: Any) -> Tensor:
    """Logits of the token [B, V] that follows each of _RESTS, side by side after _PREFIX."""
    rest_bt, mask_bt = left_padded(_RESTS, model.device)
    with after_prefixes(model, [_PREFIX], [0] * len(_RESTS)) as before:
        position_bt = (before.n_tok_b[:, None] + mask_bt.cumsum(-1) - 1).clamp(min=0)
        mask_bt = torch.cat([before.mask_bt, mask_bt], dim=1)
        place = {"attention_mask": mask_bt, "position_ids": position_bt, "past_key_values": before.cache}
        logits_bv: Tensor = model(rest_bt, **place, use_cache=True).logits[:, -1]
        return logits_bv


@dataclass
class Before:
    """What rows follow: a cache for their own text, the mask [B, T] of what is in it, the tokens before each row [B],
    and what to call with the places of the rows that go on."""

    cache: Cache
    mask_bt: Tensor
    n_tok_b: Tensor
    keep: Callable[[Tensor], None] = lambda _: None


@contextmanager
def after_prefixes(model: PreTrainedModel, prefixes: Sequence[list[int]], of_row: Sequence[int]) -> Iterator[Before]:
    """Each row after the prefix whose number stands in of_row. Inside decoding_attention the prefixes' keys and values
    are held once and read once per token for all of their rows. Elsewhere, and where attention has a sliding window,
    every row has a copy of them."""
    ids_gp, mask_gp = left_padded(prefixes, model.device)
    cache, of_row_b = growing_cache(), torch.tensor(of_row, device=model.device)
    position_gp = (mask_gp.cumsum(-1) - 1).clamp(min=0)
    whole: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    with torch.no_grad():
        whole.base_model(  # without the head; an adapter's own base_model has one
            input_ids=ids_gp, attention_mask=mask_gp, position_ids=position_gp, past_key_values=cache, use_cache=True
        )
    n_tok_b = mask_gp.sum(-1)[of_row_b]
    windowed = getattr(model.config.get_text_config(), "sliding_window", None) is not None  # our mask has no window
    if windowed or model.config._attn_implementation != NAME:
        cache.batch_select_indices(of_row_b)
        yield Before(cache, mask_gp[of_row_b], n_tok_b)
        return
    prefix = HeldOnce(cache, mask_gp.bool(), of_row_b)
    AttentionInterface.register(NAME, partial(grouped_attention, prefix=prefix))
    try:
        yield Before(growing_cache(), mask_gp.new_zeros(len(of_row), 0), n_tok_b, prefix.keep)
    finally:
        AttentionInterface.register(NAME, grouped_attention)


class HeldOnce:
    """Keys and values [G, k, P, D] of G prefixes in every layer, and the rows after each, padded to as many: [G, R]."""

    def __init__(self, cache: Any, mask_gp: Tensor, prefix_of_b: Tensor) -> None:
        self._layers, self._mask_gp, self._prefix_of_b = cache.layers, mask_gp, prefix_of_b
        self._place()

    def keep(self, kept: Tensor) -> None:
        """Go on with these rows, in this order; prefixes without a row left are let go."""
        prefix_of_b = self._prefix_of_b[kept]
        held, self._prefix_of_b = prefix_of_b.unique(return_inverse=True)
        if len(held) < len(self._mask_gp):
            self._mask_gp = self._mask_gp[held]
            for layer in self._layers:
                layer.batch_select_indices(held)
        self._place()

    def _place(self) -> None:
        """row_gr: the row at each place, or any where there is none; at_b: the place of each row among all G * R."""
        order = self._prefix_of_b.argsort(stable=True)
        n_g = torch.bincount(self._prefix_of_b, minlength=len(self._mask_gp))
        first_g = n_g.cumsum(0) - n_g
        rank = torch.arange(len(order), device=order.device) - first_g[self._prefix_of_b[order]]
        self.n_r = int(n_g.max())
        self.at_b = torch.empty_like(order)
        self.at_b[order] = self._prefix_of_b[order] * self.n_r + rank
        self.row_gr = torch.zeros(len(n_g) * self.n_r, dtype=torch.long, device=order.device)
        self.row_gr[self.at_b] = torch.arange(len(order), device=order.device)

    def attended(self, layer: int, query_bkqd: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
        """Values [B, k, Q, D] and log-denominators [B, k, Q] of queries [B, k, Q, D] on their prefix."""
        held, n_q = self._layers[layer], query_bkqd.shape[2]
        mask = torch.zeros_like(self._mask_gp, dtype=held.values.dtype).masked_fill(~self._mask_gp, -torch.inf)
        values_gkxd, log_sum_gkx = attended(
            self._by_prefix(query_bkqd), held.keys, held.values, mask[:, None, None], scaling
        )
        # The kernel gives 0 where it had no key: such a prefix has no share in the softmax.
        log_sum_gkx = log_sum_gkx.masked_fill(~self._mask_gp.any(1)[:, None, None], -torch.inf)
        values_bkqd, log_sum_bkq1 = (self._by_row(part, n_q) for part in (values_gkxd, log_sum_gkx[..., None]))
        return values_bkqd, log_sum_bkq1[..., 0]

    def _by_prefix(self, x_bkqd: Tensor) -> Tensor:
        """[B, k, Q, D] -> [G, k, R * Q, D]."""
        n_k, n_q, n_d = x_bkqd.shape[1:]
        x_grkqd = x_bkqd[self.row_gr].view(-1, self.n_r, n_k, n_q, n_d)
        return x_grkqd.transpose(1, 2).reshape(-1, n_k, self.n_r * n_q, n_d)

    def _by_row(self, x_gkxd: Tensor, n_q: int) -> Tensor:
        """[G, k, R * Q, D] -> [B, k, Q, D]."""
        n_g, n_k, _, n_d = x_gkxd.shape
        x_grkqd = x_gkxd.reshape(n_g, n_k, self.n_r, n_q, n_d).transpose(1, 2)
        return x_grkqd.reshape(n_g * self.n_r, n_k, n_q, n_d)[self.at_b]
