"""TRL builds its own VLLMGeneration and takes none as an argument: names of its modules stand for ours meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """module.name is value inside."""
    own = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, own)


@contextmanager
def checked_generation(wanted: bool) -> Iterator[None]:
    """A trainer of TRL that is built inside takes CheckedGeneration; vLLM is imported only where it is wanted."""
    if not wanted:
        yield
        return
    from trl.trainer import grpo_trainer, rloo_trainer

    from cada_trl.rollouts.generation import CheckedGeneration

    with (
        replaced(grpo_trainer, "VLLMGeneration", CheckedGeneration),
        replaced(rloo_trainer, "VLLMGeneration", CheckedGeneration),
    ):
        yield
