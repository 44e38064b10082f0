"""Attention over rows laid out in one line after their common prefix: a token sees the prefix and its own row so far.

One product a row, each of the size that the row needs: a mask over the whole line would have every row look at all
others only to hide them, and grow with the square of the micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "cada_rows"


class Line(NamedTuple):
    """Lengths of the prefix (0: none) and of the rows, and what each row's tokens see [row, prefix + row]."""

    n_prefix: int
    n_row_b: list[int]
    sees_b: list[Tensor | None]  # None: attention is causal without a mask


def line_of(n_prefix: int, n_row_b: Sequence[int], device: torch.device) -> Line:
    """The line of a prefix and rows of these lengths."""
    sees_b: list[Tensor | None] = [None] * len(n_row_b)
    if n_prefix:
        sees_b = [torch.ones(n, n_prefix + n, dtype=torch.bool, device=device).tril(n_prefix) for n in n_row_b]
    return Line(n_prefix, list(n_row_b), sees_b)


def use_row_attention(model: PreTrainedModel) -> None:
    """After this, an sdpa model takes line=; without it, and for another attention, the model is as before.

    Set once and for all: under gradient checkpointing a layer runs again long after its call.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def row_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    line: Line | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: [1, H, S, D] -> [1, S, H, D]; its sdpa attention where there is no line."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if line is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    parts = [line.n_prefix, *line.n_row_b]
    (query_of_prefix, *queries), (key_of_prefix, *keys), (value_of_prefix, *values) = (
        state.split(parts, dim=2) for state in (query, key, value)
    )
    seen = []
    if line.n_prefix:
        seen = [sdpa_attention_forward(module, query_of_prefix, key_of_prefix, value_of_prefix, None, **kwargs)[0]]
        keys = [torch.cat([key_of_prefix, one], dim=2) for one in keys]
        values = [torch.cat([value_of_prefix, one], dim=2) for one in values]
    for row_query, row_key, row_value, sees in zip(queries, keys, values, line.sees_b, strict=True):
        seen.append(sdpa_attention_forward(module, row_query, row_key, row_value, sees, **kwargs)[0])
    return torch.cat(seen, dim=1), None
