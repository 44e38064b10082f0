"""Weights that are numbers: with a NaN or an infinity in one tensor every answer is noise, and nothing else says so."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from cada_trl.errors import UserError
from cada_trl.models.folder import AGAIN


def check_finite(path: str, folder: Path) -> None:
    """Look once at each tensor of the folder's files; path: how the user named it.

    The files, not the loaded model: vLLM keeps its own, and ZeRO-3 leaves each rank a part.
    Errors: UserError names the first tensor that holds a NaN or an infinity, and says how many do.
    """
    wrong = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            wrong += [name for name in stored.keys() if not _is_finite(stored.get_tensor(name))]  # noqa: SIM118
    if wrong:
        more = f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise UserError(f"the weights of {path} hold NaN or infinity, in {wrong[0]}{more}; {AGAIN}")


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))  # a NaN is both ends
