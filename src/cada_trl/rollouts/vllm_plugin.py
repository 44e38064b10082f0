"""The entry point `vllm.general_plugins` of this package; vLLM calls register() in each of its processes.

vLLM's CPU build packs every linear weight into a oneDNN handle when it loads a model and frees the parameter, so that
no later weight sync can reach it: load_weights fails, and a reload leaves a tied output head on its first weights,
silently. In a training the weights therefore stay as they are (docs/vllm_rollouts.md says what that costs).
"""

from __future__ import annotations

import os
from typing import Any

from cada_trl.rollouts.before_import import UPDATABLE

BACKEND = "cada_shm"


def register() -> None:
    """Nothing off a CPU; there the transfer engine of shared_memory.py and, in a training, updatable weights."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    _register_engine()
    if os.environ.get(UPDATABLE) == "1":
        _keep_linear_weights()


def _register_engine() -> None:
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory._registry:  # vLLM may load its plugins twice in a process
        WeightTransferEngineFactory.register_engine(BACKEND, "cada_trl.rollouts.shared_memory", "SharedMemoryEngine")


def _keep_linear_weights() -> None:
    """Linear layers and output head multiply by their own parameter, which a sync can write to."""
    from torch.nn.functional import linear
    from vllm.model_executor.layers import utils

    def dispatch(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = linear

    utils.dispatch_cpu_unquantized_gemm = dispatch
