"""Attention for decoding equals transformers' eager attention, and is on inside its context only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from end_to_end.tiny_model import tiny_model
from transformers.models.llama.modeling_llama import eager_attention_forward

from cada_trl.models.decoding import NAME, decoding_attention, grouped_attention


@pytest.mark.parametrize("n_q", [1, 7])
@pytest.mark.parametrize("n_heads", [2, 6])
def test_it_equals_transformers_eager_attention(n_q: int, n_heads: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, n_heads, n_q, 8), torch.randn(3, 2, 9, 8), torch.randn(3, 2, 9, 8)
    mask = torch.where(torch.rand(3, 1, n_q, 9) < 0.3, torch.finfo(torch.float32).min, 0.0)
    module: Any = SimpleNamespace(num_key_value_groups=n_heads // 2, training=False)
    for its_mask in (mask, None):
        expected, _ = eager_attention_forward(module, query, key, value, its_mask, scaling=0.3)
        got, _ = grouped_attention(module, query, key, value, its_mask, scaling=0.3)
        assert torch.allclose(got, expected, atol=1e-6)


def test_under_autocast_to_bfloat16_a_pads_fully_masked_row_stays_finite() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8), torch.randn(1, 2, 3, 8)
    mask = torch.zeros(1, 1, 3, 3)
    mask[:, :, 0] = torch.finfo(torch.float32).min
    module: Any = SimpleNamespace(num_key_value_groups=2, training=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, _ = grouped_attention(module, query, key, value, mask, scaling=0.3)
    expected, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.3)
    assert torch.allclose(got.float(), expected, atol=0.05)


def test_the_models_own_attention_is_back_after_an_error() -> None:
    model = tiny_model()
    with pytest.raises(RuntimeError, match="on purpose"), decoding_attention(model):
        assert model.config._attn_implementation == NAME
        raise RuntimeError("on purpose")
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_transformers_keeps_from_sdpa_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    monkeypatch.setattr(type(model), "_supports_sdpa", False)
    with decoding_attention(model):
        assert model.config._attn_implementation == "sdpa"
