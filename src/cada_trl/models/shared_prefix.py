"""Rows that begin alike: their common prefix is run once, and where attention is ours it is also kept and read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, Cache, PreTrainedModel

from cada_trl.algo.packing import left_padded
from cada_trl.models.cpu_decoding import NAME, attended, grouped_attention, growing_cache


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
    prefix = _HeldOnce(cache, mask_gp.bool(), of_row_b)
    AttentionInterface.register(NAME, partial(grouped_attention, prefix=prefix))
    try:
        yield Before(growing_cache(), mask_gp.new_zeros(len(of_row), 0), n_tok_b, prefix.keep)
    finally:
        AttentionInterface.register(NAME, grouped_attention)


class _HeldOnce:
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
