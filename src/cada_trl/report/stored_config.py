"""The config.yaml that a verb wrote into its folder, as a report reads it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cada_trl.errors import UserError


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a config.yaml. Errors: UserError for a file that cannot be read or holds no mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}; restore it") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, expected a mapping; restore it")
    return values
