"""The entry point `vllm.general_plugins` of this package; vLLM calls register() in each of its processes.

vLLM's CPU build packs every linear weight into a oneDNN handle when it loads a model and frees the parameter, so that
no later weight sync can reach it: load_weights fails, and a reload leaves a tied output head on its first weights,
silently. In a training the parameters therefore stay beside the packed weights, and are packed again after each sync.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cada_trl.rollouts.before_import import UPDATABLE

if TYPE_CHECKING:
    from torch import Tensor

BACKEND = "cada_shm"


def register() -> None:
    """Nothing off a CPU; there the transfer engine of shared_memory.py and, in a training, updatable weights."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    _register_engine()
    if os.environ.get(UPDATABLE) == "1":
        _pack_after_each_load()


def _register_engine() -> None:
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory._registry:  # vLLM may load its plugins twice in a process
        WeightTransferEngineFactory.register_engine(BACKEND, "cada_trl.rollouts.shared_memory", "SharedMemoryEngine")


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
