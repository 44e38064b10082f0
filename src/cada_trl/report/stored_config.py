"""The config.yaml that a verb wrote into its folder, as a report reads it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.reading import read_yaml


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a config.yaml. Errors: UserError for a file that cannot be read or holds no mapping."""
    values = read_yaml(path, "restore it")
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, expected a mapping; restore it")
    return values
