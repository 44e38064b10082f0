"""Weights that are numbers: with a NaN or an infinity in one tensor every answer is noise, and nothing else says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from cada_trl.errors import UserError
from cada_trl.models.folder import AGAIN


def check_finite(path: str, weights: Iterable[tuple[str, Tensor]]) -> None:
    """One pass over (name, tensor) without a copy.

    Errors: UserError names the first tensor that holds a NaN or an infinity, and says how many do.
    """
    if wrong := [name for name, tensor in weights if not _is_finite(tensor)]:
        more = f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise UserError(f"the weights of {path} hold NaN or infinity, in {wrong[0]}{more}; {AGAIN}")


def stored_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of a folder's safetensors files, read one by one."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                yield name, stored.get_tensor(name)


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor.detach()))  # a NaN is both ends
