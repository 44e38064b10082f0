"""What a run's hardware offers: memory of one process, and how its launch file splits the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files

import yaml

from cada_trl.config import CONF_DIR, Config, HardwareConfig


@dataclass(frozen=True)
class Accelerator:
    """One card. memory_gb in 10^9 bytes; tflops of bfloat16 matrix products."""

    memory_gb: float
    tflops: float
    bandwidth_gb_s: float


def accelerators() -> dict[str, Accelerator]:
    """The cards that hardware.accelerator can name."""
    table = yaml.safe_load(files("cada_trl.planning").joinpath("assets/accelerators.yaml").read_text(encoding="utf-8"))
    return {name: Accelerator(**values) for name, values in table.items()}


def accelerator_of(hardware: HardwareConfig) -> Accelerator | None:
    """The card that the hardware names; None where it names none."""
    return accelerators()[hardware.accelerator] if hardware.accelerator else None


def memory_a_process_gb(hardware: HardwareConfig) -> float | None:
    """Memory that one process can have: the named card's, else what this machine has; None for a GPU that is not here.

    CPU processes share the machine's memory.
    """
    if hardware.device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 / hardware.n_processes
    if card := accelerator_of(hardware):
        return card.memory_gb
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None


def zero_stage(config: Config) -> int:
    """DeepSpeed's ZeRO stage in the hardware's launch file; 0 where DeepSpeed is not used."""
    file = config.hardware.accelerate_config
    if config.hardware.launcher == "python" or file is None:
        return 0
    settings = yaml.safe_load((CONF_DIR.parent / file).read_text(encoding="utf-8"))
    return int(settings["deepspeed_config"]["zero_stage"]) if settings["distributed_type"] == "DEEPSPEED" else 0
