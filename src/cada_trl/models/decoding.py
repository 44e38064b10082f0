"""Attention for sampling: on a CPU, plain (eager) attention decodes about twice as fast as torch's flash kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """Eager attention inside the context on CPU; the model's own elsewhere, and again afterwards.

    One query against a long cache is what torch's CPU flash kernel is slow at (docs/results.md); scoring keeps it.
    """
    own = model.config._attn_implementation
    if model.device.type != "cpu" or own == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(own)
