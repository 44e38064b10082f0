"""DeepSpeed's shards: how ranks on CPUs meet, and weights read whole where ZeRO-3 has split them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from cada_trl.config import HardwareConfig
from cada_trl.planning.device import zero_stage


def join_ranks(hardware: HardwareConfig) -> None:
    """Start DeepSpeed's communication between ranks on CPUs, before the trainer's arguments are made.

    accelerate starts it for GPUs only; without it DeepSpeed takes each rank for a world of its own.
    """
    if hardware.device != "cpu" or not zero_stage(hardware):
        return
    import deepspeed

    # An all-reduce for inference, which training never calls; else g++ compiles it for a minute or two at first use.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def stage_of(accelerator: Any) -> int:
    """ZeRO's stage in this process; 0 without DeepSpeed."""
    plugin = accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)


@contextmanager
def gathered(parameters: Iterable[Tensor]) -> Iterator[None]:
    """The parameters are whole inside, those that are not split as they were; every rank must enter and leave."""
    split = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not split:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split):
        yield


def whole(parameter: Tensor) -> Tensor:
    """The parameter, or a copy of all of it where it is split; every rank must ask."""
    if not hasattr(parameter, "ds_id"):
        return parameter
    with gathered([parameter]):
        return parameter.detach().clone()
