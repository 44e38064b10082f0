"""The server's side of a weight sync without a GPU: vLLM reads the trainer's weights from a safetensors file in shared
memory. TRL's own way is NCCL, which needs CUDA; the trainer's side is server_client.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from cada_trl.rollouts.before_import import UPDATABLE


@dataclass
class InitInfo(WeightTransferInitInfo):
    """Nothing to agree on."""


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):
    """path: a safetensors file with every parameter under its name in transformers."""

    path: str


class SharedMemoryEngine(WeightTransferEngine[InitInfo, UpdateInfo]):
    """Loads the file with the model's own load_weights; nothing is packed (vllm_plugin.py), so nothing is repacked."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo

    def init_transfer_engine(self, init_info: InitInfo) -> None:
        """Errors: RuntimeError where this server's weights cannot be replaced."""
        if os.environ.get(UPDATABLE) != "1":
            raise RuntimeError("start the server with `python -m cada_trl.rollouts.serve`: its weights are packed")

    def start_weight_update(self) -> None:
        """Weights are written in place."""

    def finish_weight_update(self) -> None:
        """Weights are written in place."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As the base class, without its synchronisation of an accelerator, which raises on a CPU."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Write the file's weights into the model."""
        self.model.load_weights(load_file(update_info.path).items())

    def shutdown(self) -> None:
        """Holds nothing."""
