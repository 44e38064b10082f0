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


class _Factory:
    def __init__(self) -> None:
        self._registry: dict[str, Any] = {}

    def register_engine(self, name: str, module: str, class_name: str) -> None:
        assert name not in self._registry
        self._registry[name] = (module, class_name)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    seen = SimpleNamespace(is_cpu=True, factory=_Factory(), packs=object())
    contents = {
        "vllm": {},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: seen.is_cpu)},
        "vllm.distributed": {},
        "vllm.distributed.weight_transfer": {},
        "vllm.distributed.weight_transfer.factory": {"WeightTransferEngineFactory": seen.factory},
        "vllm.model_executor": {},
        "vllm.model_executor.layers": {},
        "vllm.model_executor.layers.utils": {"dispatch_cpu_unquantized_gemm": seen.packs},
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


def test_in_a_training_a_layer_multiplies_by_the_parameter_that_a_sync_writes_to(
    vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UPDATABLE, "1")
    register()
    register()  # vLLM may load plugins twice in a process
    layer: Any = torch.nn.Linear(3, 2, bias=False)
    vllm.utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    layer.weight.data.fill_(2.0)
    assert layer.cpu_linear(torch.ones(1, 3), layer.weight, None).tolist() == [[6.0, 6.0]]


def test_the_package_declares_it_to_vllm() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = pyproject["project"]["entry-points"]["vllm.general_plugins"]
    assert declared == {PLUGIN: f"{register.__module__}:{register.__name__}"}
