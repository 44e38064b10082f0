"""Attention for decoding on a CPU: the query heads that share keys are multiplied in one product, nothing is copied.

transformers' eager attention first copies keys and values once a query head (three times for SmolLM2), and torch's CPU
flash kernel is slow at one query against a long cache: at 24 rows of 300 tokens each they took twice the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "cada_grouped"


def grouped_attention(
    module: torch.nn.Module,
    query_bhqd: Tensor,
    key_bktd: Tensor,
    value_bktd: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of h query heads on k shared key heads -> [B, Q, h, D], transformers' attention interface.

    attention_mask: [B, 1, Q, T], added to the scores. dropout is not applied: this is for decoding.
    """
    n_b, n_h, n_q, _ = query_bhqd.shape
    n_k, n_t = key_bktd.shape[1:3]
    query = (query_bhqd * scaling).reshape(n_b, n_k, n_h // n_k * n_q, -1)
    # In float32: under autocast to bfloat16 the float32 mask's lowest number would round to -inf, a pad's row to nan.
    scores = torch.matmul(query, key_bktd.transpose(2, 3)).view(n_b, n_k, n_h // n_k, n_q, n_t).float()
    if attention_mask is not None:
        scores += attention_mask[:, :, None]
    weights = scores.softmax(-1).to(value_bktd.dtype).view(n_b, n_k, -1, n_t)
    return torch.matmul(weights, value_bktd).view(n_b, n_h, n_q, -1).transpose(1, 2).contiguous(), None


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """The attention above inside the context, on CPU; the model's own elsewhere, and again afterwards.

    Models that transformers keeps from SDPA keep their own attention here too: it is more than softmax and mask.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    own = model.config._attn_implementation
    if model.device.type != "cpu" or not model._supports_sdpa:
        yield
        return
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(own)
