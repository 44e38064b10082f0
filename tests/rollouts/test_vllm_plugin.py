"""The plugin, with stand-ins for the vLLM modules that it touches."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from cada_trl.rollouts.before_import import PLUGIN, UPDATABLE
from cada_trl.rollouts.vllm_plugin import BACKEND, register


def _pack(layer: Any, remove_weight: bool) -> None:
    """As vLLM's: the product is that of the weights at the time of packing."""
    packed = layer.weight.detach().clone()
    layer.cpu_linear = lambda x, weight, bias: torch.nn.functional.linear(x, packed, bias)
    if remove_weight:
        layer.weight = None


def _load(parameter: Any, value: torch.Tensor) -> None:
    parameter.data.copy_(value)


class _Factory:
    def __init__(self) -> None:
        self._registry: dict[str, Any] = {}

    def register_engine(self, name: str, module: str, class_name: str) -> None:
        assert name not in self._registry
        self._registry[name] = (module, class_name)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    seen = SimpleNamespace(is_cpu=True, factory=_Factory(), packs=_pack)
    contents = {
        "vllm": {},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: seen.is_cpu)},
        "vllm.distributed": {},
        "vllm.distributed.weight_transfer": {},
        "vllm.distributed.weight_transfer.factory": {"WeightTransferEngineFactory": seen.factory},
        "vllm.model_executor": {},
        "vllm.model_executor.layers": {},
        "vllm.model_executor.layers.utils": {"dispatch_cpu_unquantized_gemm": seen.packs},
        "vllm.model_executor.model_loader": {},
        "vllm.model_executor.model_loader.weight_utils": {"default_weight_loader": _load},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)
    seen.utils = sys.modules["vllm.model_executor.layers.utils"]
    return seen


def test_it_does_nothing_off_a_cpu(vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UPDATABLE, "1")
    vllm.is_cpu = False
    register()
    assert vllm.factory._registry == {}
    assert vllm.utils.dispatch_cpu_unquantized_gemm is vllm.packs


def test_outside_a_training_weights_stay_packed(vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UPDATABLE, raising=False)
    register()
    assert vllm.utils.dispatch_cpu_unquantized_gemm is vllm.packs
    assert vllm.factory._registry == {BACKEND: ("cada_trl.rollouts.shared_memory", "SharedMemoryEngine")}


@pytest.fixture
def layer(vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A linear layer that vLLM has loaded in a training."""
    monkeypatch.setenv(UPDATABLE, "1")
    register()
    register()  # vLLM may load plugins twice in a process
    layer: Any = torch.nn.Linear(3, 2, bias=False)
    vllm.utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    return layer


def _product(layer: Any) -> list[list[float]]:
    product: torch.Tensor = layer.cpu_linear(torch.ones(1, 3), layer.weight, None)
    return product.tolist()


def test_in_a_training_a_layer_multiplies_by_what_a_sync_wrote_last(layer: Any) -> None:
    for value in (2.0, 3.0):
        layer.weight.weight_loader(layer.weight, torch.full((2, 3), value))
        assert _product(layer) == [[3 * value] * 2]


def test_a_parameter_that_two_layers_share_is_packed_again_by_both(vllm: SimpleNamespace, layer: Any) -> None:
    head: Any = torch.nn.Linear(3, 2, bias=False)
    head.weight = layer.weight
    vllm.utils.dispatch_cpu_unquantized_gemm(head, remove_weight=False)
    _product(head), _product(layer)
    layer.weight.weight_loader(layer.weight, torch.ones(2, 3))
    assert _product(head) == _product(layer) == [[3.0, 3.0]]


def test_between_two_syncs_a_layer_is_packed_once(layer: Any) -> None:
    layer.weight.weight_loader(layer.weight, torch.ones(2, 3))
    _product(layer)
    packed = layer.cpu_linear
    _product(layer)
    assert layer.cpu_linear is packed


def test_the_package_declares_it_to_vllm() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = pyproject["project"]["entry-points"]["vllm.general_plugins"]
    assert declared == {PLUGIN: f"{register.__module__}:{register.__name__}"}
