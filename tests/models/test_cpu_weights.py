"""Weights that are made quick for sampling give torch's own products, inside their context only."""

import platform

import pytest
import torch
from end_to_end.tiny_model import tiny_model

from cada_trl.models.cpu_weights import in_autocast_dtype, packed_linear

on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="weights are packed on x86 CPUs with oneDNN only",
)
IDS = torch.tensor([[1, 5, 9, 11], [1, 7, 8, 3]])


class _Biased(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(8, 24)

    def forward(self, hidden):
        product = self.up(hidden)
        return product


def _logits(model):
    with torch.no_grad():
        logits = model(input_ids=IDS).logits
    return logits


@on_x86
def test_a_packed_model_gives_its_own_logits():
    model = tiny_model()
    own = _logits(model)
    with packed_linear(model):
        assert "_linear_pointwise" in _operations(model)
        torch.testing.assert_close(_logits(model), own, atol=1e-5, rtol=0)
    assert "_linear_pointwise" not in _operations(model)
    assert torch.equal(_logits(model), own)


def _operations(model):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        _logits(model)
    return " ".join(event.key for event in seen.key_averages())


@on_x86
def test_weights_and_a_bias_that_changed_between_two_contexts_are_packed_again():
    model = _Biased()
    hidden = torch.randn(3, 8)
    for _ in range(2):
        with torch.no_grad():
            model.up.weight.mul_(2.0)
            model.up.bias.add_(1.0)
        own = model(hidden)
        with packed_linear(model):
            torch.testing.assert_close(model(hidden), own)


@on_x86
def test_under_autocast_the_product_is_autocasts():
    model = _Biased()
    hidden = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = model(hidden)
        with packed_linear(model):
            packed = model(hidden)
    assert packed.dtype == own.dtype == torch.bfloat16
    torch.testing.assert_close(packed, own, atol=0.02, rtol=0)


@on_x86
def test_a_forward_that_somebody_set_is_back_after_an_error():
    model = _Biased()
    own = model.up.forward
    with pytest.raises(RuntimeError, match="on purpose"), packed_linear(model):
        raise RuntimeError("on purpose")
    assert "forward" not in vars(model.up)
    model.up.forward = set_by_another = lambda hidden: own(hidden) + 1
    with packed_linear(model):
        assert model.up.forward is not set_by_another
    assert model.up.forward is set_by_another


@on_x86
@pytest.mark.parametrize(
    ("machine", "dtype"), [(platform.machine(), torch.float64), ("arm64", torch.float32)], ids=["double", "elsewhere"]
)
def test_a_double_precision_model_and_other_machines_keep_their_own_products(monkeypatch, machine, dtype):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    model = _Biased().to(dtype)
    with packed_linear(model):
        assert "forward" not in vars(model.up)


def test_under_autocast_activations_stay_in_its_dtype_and_the_weights_come_back_unrounded():
    model = tiny_model()
    own, before = _logits(model), {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.autocast("cpu", dtype=torch.bfloat16), packed_linear(model):
        with pytest.raises(RuntimeError, match="on purpose"), in_autocast_dtype(model):
            assert model.get_input_embeddings()(IDS).dtype == torch.bfloat16
            torch.testing.assert_close(_logits(model).float(), own, atol=0.1, rtol=0)
            raise RuntimeError("on purpose")
        assert model.get_input_embeddings()(IDS).dtype == torch.float32
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_without_autocast_no_weight_is_rounded():
    model = tiny_model()
    with packed_linear(model), in_autocast_dtype(model):
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
