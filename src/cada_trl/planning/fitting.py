"""The nearest change of a run that fits into memory, found by planning it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import yaml

from cada_trl.config import CONF_DIR, Config, check_config
from cada_trl.errors import UserError
from cada_trl.planning.memory import MemoryPlan, plan_memory
from cada_trl.planning.shapes import Shape, longest

# Of four GPUs, for a run under ZeRO-2: the cheaper first.
ZERO3_FILES = ("launch/accelerate_zero3_4gpu.yaml", "launch/accelerate_zero3_offload_4gpu.yaml")
MOST_CHANGES = 3

Change = tuple[str, dict[str, dict[str, Any]]]  # its words on the command line, and the keys it sets


def nearest_fit(config: Config, shape: Shape) -> tuple[str, MemoryPlan] | None:
    """The words of the fewest changes that make the run fit, and its plan then; None where up to three do not.

    Of equally many the one that changes the result least comes first: checkpointing and micro-batches only cost time,
    rollouts without vLLM too, other hardware costs money, and LoRA trains something else. A change that the
    configuration refuses, such as a step that the processes cannot divide, is passed over.
    """
    changes, lengths = list(_changes(config)), longest(config)
    for n_changes in range(1, MOST_CHANGES + 1):
        for chosen in combinations(changes, n_changes):
            changed = _changed(config, chosen)
            if changed is not None and (plan := plan_memory(changed, shape, lengths)).fits:
                return " ".join(words for words, _ in chosen), plan
    return None


def _changes(config: Config) -> Iterator[Change]:
    hardware = config.hardware
    if not hardware.gradient_checkpointing:
        yield "gradient_checkpointing=true", {"hardware": {"gradient_checkpointing": True}}
    for size in range(hardware.micro_batch - 1, 0, -1):
        yield f"micro_batch={size}", {"hardware": {"micro_batch": size}}
    if config.rollout.backend == "vllm_colocate":
        yield "backend=transformers", {"rollout": {"backend": "transformers"}}
    if hardware.accelerate_config and "zero2_4gpu" in hardware.accelerate_config:
        for name in ZERO3_FILES:
            yield f"accelerate_config={name}", {"hardware": {"accelerate_config": name}}
    for file in sorted((CONF_DIR / "hardware").glob("*.yaml"), key=_n_processes):
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        if values["device"] == "cuda" and values != hardware.model_dump():
            yield f"hardware={file.stem}", {"hardware": values}
    if config.peft.adapter == "none":
        yield "peft=lora", {"peft": {"adapter": "lora"}}


def _n_processes(file: Any) -> tuple[int, str]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))["n_processes"], file.stem


def _changed(config: Config, chosen: tuple[Change, ...]) -> Config | None:
    """The configuration with the changes, later ones last as on the command line; None where two set one key or the
    result is refused."""
    values, seen = config.model_dump(), set()
    hardware_first = sorted(chosen, key=lambda change: not change[0].startswith("hardware="))
    for words, sections in hardware_first:
        key = words.partition("=")[0].replace("accelerate_config", "hardware")  # a launch file goes with its hardware
        if key in seen:
            return None
        seen.add(key)
        for section, new in sections.items():
            values[section] |= new
    try:
        return check_config(values)
    except UserError:
        return None
