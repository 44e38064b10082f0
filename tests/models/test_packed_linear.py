"""Products with packed weights equal torch's own, and a model has its own again after the context."""

from __future__ import annotations

import platform
from typing import Any

import pytest
import torch
from end_to_end.tiny_model import tiny_model
from torch import Tensor

from cada_trl.models.packed_linear import packed_linear

pytestmark = pytest.mark.skipif(
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


def test_under_autocast_the_product_is_autocasts() -> None:
    model: Any = _Biased()
    hidden = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = model(hidden)
        with packed_linear(model):
            packed = model(hidden)
    assert packed.dtype == own.dtype == torch.bfloat16
    torch.testing.assert_close(packed, own, atol=0.02, rtol=0)


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


def test_a_double_precision_model_keeps_its_own_products() -> None:
    model: Any = _Biased().double()
    with packed_linear(model):
        assert "forward" not in vars(model.up)


def test_elsewhere_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    model: Any = _Biased()
    with packed_linear(model):
        assert "forward" not in vars(model.up)
