"""What makes decoding quick equals transformers' and torch's own, and is on inside its context only."""

from __future__ import annotations

import platform
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from end_to_end.tiny_model import tiny_model
from torch import Tensor
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import eager_attention_forward

from cada_trl.models.cpu_decoding import (
    BLOCK_TOK,
    NAME,
    attended,
    decoding_attention,
    grouped_attention,
    growing_cache,
    in_autocast_dtype,
    packed_linear,
)


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
        got, _ = grouped_attention(module, query, key, value.bfloat16(), mask, scaling=0.3)
    expected, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.3)
    assert torch.allclose(got[:, 1:].float(), expected[:, 1:], atol=0.05)
    assert torch.equal(got[:, 0].float(), torch.zeros(1, 4, 8))


def test_two_parts_of_the_keys_are_joined_by_their_denominators() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9, 8)
    whole, whole_log_sum = attended(query, key, value, None, 0.3)
    first, first_log_sum = attended(query, key[:, :, :4], value[:, :, :4], None, 0.3)
    second, second_log_sum = attended(query, key[:, :, 4:], value[:, :, 4:], None, 0.3)
    log_sums = torch.stack([first_log_sum, second_log_sum])
    assert torch.allclose(log_sums.logsumexp(0), whole_log_sum, atol=1e-5)
    assert torch.allclose((torch.stack([first, second]) * log_sums.softmax(0)[..., None]).sum(0), whole, atol=1e-5)


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


def state(n_rows: int, n_tok: int) -> torch.Tensor:
    return torch.randn(n_rows, 2, n_tok, 4)


def test_it_returns_what_transformers_own_cache_returns() -> None:
    torch.manual_seed(0)
    ours, own = growing_cache(), DynamicCache()
    for n_tok in (5, 1, 1, BLOCK_TOK, 1, 3 * BLOCK_TOK, 1):
        keys, values = state(3, n_tok), state(3, n_tok)
        got, expected = ours.update(keys, values, 0), own.update(keys, values, 0)
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
        assert ours.get_seq_length() == own.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == own.get_mask_sizes(1, 0)


def test_rows_that_are_left_out_are_gone_and_repeated_ones_are_copies() -> None:
    torch.manual_seed(0)
    cache, keys, values = growing_cache(), state(3, 5), state(3, 5)
    cache.update(keys, values, 0)
    cache.batch_select_indices(torch.tensor([2, 0, 0]))
    more = state(3, 1)
    got, _ = cache.update(more, more, 0)
    assert torch.equal(got, torch.cat([keys[[2, 0, 0]], more], dim=2))


def test_a_new_token_is_written_in_place() -> None:
    cache = growing_cache()
    before, _ = cache.update(state(1, 5), state(1, 5), 0)
    after, _ = cache.update(state(1, 1), state(1, 1), 0)
    assert after.data_ptr() == before.data_ptr()


on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="weights are packed on x86 CPUs with oneDNN only",
)
IDS = torch.tensor([[1, 5, 9, 11], [1, 7, 8, 3]])


class _Biased(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(8, 24)

    def forward(self, hidden: Tensor) -> Tensor:
        product: Tensor = self.up(hidden)
        return product


def _logits(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=IDS).logits
    return logits


@on_x86
def test_a_packed_model_gives_its_own_logits() -> None:
    model = tiny_model()
    own = _logits(model)
    with packed_linear(model):
        assert "_linear_pointwise" in _operations(model)
        torch.testing.assert_close(_logits(model), own, atol=1e-5, rtol=0)
    assert "_linear_pointwise" not in _operations(model)
    assert torch.equal(_logits(model), own)


def _operations(model: Any) -> str:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        _logits(model)
    return " ".join(event.key for event in seen.key_averages())


@on_x86
def test_weights_and_a_bias_that_changed_between_two_contexts_are_packed_again() -> None:
    model: Any = _Biased()
    hidden = torch.randn(3, 8)
    for _ in range(2):
        with torch.no_grad():
            model.up.weight.mul_(2.0)
            model.up.bias.add_(1.0)
        own = model(hidden)
        with packed_linear(model):
            torch.testing.assert_close(model(hidden), own)


@on_x86
def test_under_autocast_the_product_is_autocasts() -> None:
    model: Any = _Biased()
    hidden = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = model(hidden)
        with packed_linear(model):
            packed = model(hidden)
    assert packed.dtype == own.dtype == torch.bfloat16
    torch.testing.assert_close(packed, own, atol=0.02, rtol=0)


@on_x86
def test_a_forward_that_somebody_set_is_back_after_an_error() -> None:
    model: Any = _Biased()
    own = model.up.forward
    with pytest.raises(RuntimeError, match="on purpose"), packed_linear(model):
        raise RuntimeError("on purpose")
    assert "forward" not in vars(model.up)
    model.up.forward = set_by_another = lambda hidden: own(hidden) + 1
    with packed_linear(model):
        assert model.up.forward is not set_by_another
    assert model.up.forward is set_by_another


@on_x86
def test_a_double_precision_model_keeps_its_own_products() -> None:
    model: Any = _Biased().double()
    with packed_linear(model):
        assert "forward" not in vars(model.up)


@on_x86
def test_elsewhere_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    model: Any = _Biased()
    with packed_linear(model):
        assert "forward" not in vars(model.up)


def test_under_autocast_activations_stay_in_its_dtype_and_the_weights_come_back_unrounded() -> None:
    model = tiny_model()
    own, before = _logits(model), {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.autocast("cpu", dtype=torch.bfloat16), packed_linear(model):
        with pytest.raises(RuntimeError, match="on purpose"), in_autocast_dtype(model):
            assert model.get_input_embeddings()(IDS).dtype == torch.bfloat16
            torch.testing.assert_close(_logits(model).float(), own, atol=0.1, rtol=0)
            raise RuntimeError("on purpose")
        assert model.get_input_embeddings()(IDS).dtype == torch.float32
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_without_autocast_no_weight_is_rounded() -> None:
    model = tiny_model()
    with packed_linear(model), in_autocast_dtype(model):
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
