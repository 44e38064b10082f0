"""The accelerate files of launch/: read by accelerate's own parser, and in step with their hardware."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from cada_trl.config import CONF_DIR, Config, load_config

ROOT = CONF_DIR.parent
FILES = sorted(set((ROOT / "launch").glob("*.yaml")) - {ROOT / "launch" / "sky.yaml"})  # SkyPilot's is no launcher's
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def comments(file: Path) -> list[str]:
    """The comment lines that open a file, without their signs."""
    lines = file.read_text(encoding="utf-8").splitlines()
    n_lines = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line.lstrip("# ") for line in lines[:n_lines]]


def described_run(file: Path) -> Config:
    """The configuration of the command in the file's head."""
    command = next(line for line in comments(file) if line.startswith("python -m cada_trl.train"))
    return load_config(shlex.split(command)[3:])


def accelerate_arguments(file: Path) -> Any:
    """What `accelerate launch --config_file` makes of the file."""
    arguments = launch_command_parser().parse_args(["--config_file", str(file), "train.py"])
    return _validate_launch_command(arguments)[0]


@each_file
def test_the_head_says_what_has_never_been_run(file: Path) -> None:
    assert any(re.search(r"\bNever run:", line) for line in comments(file))


@each_file
def test_the_heads_command_names_this_file(file: Path) -> None:
    assert described_run(file).hardware.accelerate_config == f"launch/{file.name}"
    assert described_run(file).hardware.launcher == "accelerate"


@each_file
def test_accelerate_starts_as_many_processes_as_the_hardware_has(file: Path) -> None:
    """Accelerate's number is that of all machines together."""
    arguments, hardware = accelerate_arguments(file), described_run(file).hardware
    assert arguments.num_processes == hardware.n_processes


@each_file
def test_precision_and_device_are_the_hardwares(file: Path) -> None:
    arguments, hardware = accelerate_arguments(file), described_run(file).hardware
    assert arguments.mixed_precision == ("bf16" if hardware.bf16 else "no")
    assert arguments.use_cpu is (hardware.device == "cpu")


def test_every_file_that_a_hardware_choice_names_exists() -> None:
    for choice in sorted(file.stem for file in (CONF_DIR / "hardware").glob("*.yaml")):
        named = load_config(["model=llama3", f"hardware={choice}"]).hardware.accelerate_config
        assert named is None or ROOT / named in FILES


def test_zero3_gathers_whole_weights_for_a_checkpoint() -> None:
    """Accelerate's name for DeepSpeed's stage3_gather_16bit_weights_on_model_save."""
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero3_4gpu.yaml")
    assert (arguments.use_deepspeed, arguments.zero_stage, arguments.zero3_save_16bit_model) == (True, 3, True)


def test_zero2_splits_no_weights() -> None:
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero2_4gpu.yaml")
    assert (arguments.use_deepspeed, arguments.zero_stage, arguments.zero3_init_flag) == (True, 2, False)


def test_the_offloading_file_keeps_the_optimiser_off_the_gpus_and_the_weights_on_them() -> None:
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero3_offload_4gpu.yaml")
    assert (arguments.zero_stage, arguments.zero3_save_16bit_model) == (3, True)
    assert (arguments.offload_optimizer_device, arguments.offload_param_device) == ("cpu", "none")
