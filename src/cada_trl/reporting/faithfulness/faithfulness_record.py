"""A folder of faithfulness probes as read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.eval_folder import EvalFolder
from cada_trl.evals.faithfulness.effects import EFFECTS, Effects
from cada_trl.reporting.stored_config import read_config

Row = dict[str, Any]


@dataclass(frozen=True)
class FaithfulnessRecord:
    """One model's probes under one prompt arm, by the judge of its effects.json."""

    path: Path
    config: Row
    manifest: Row
    effects: Effects

    @property
    def name(self) -> str:
        return self.path.resolve().name


def read_faithfulness(path: Path) -> FaithfulnessRecord:
    """Read <faithfulness_dir>/<model>-<hash8>. Errors: UserError for probes without effects and for a damaged file."""
    folder = EvalFolder(path)
    manifest, values = folder.read_json("manifest.json"), folder.read_json(EFFECTS)
    if not values:
        state = manifest.get("exit_state") or "unknown"
        raise UserError(f"{path} has no {EFFECTS} (state: {state}); the command that made the folder goes on with it")
    try:
        effects = Effects.from_json(values)
    except UserError as error:
        raise UserError(f"{path / EFFECTS}: {error}") from error
    return FaithfulnessRecord(path, read_config(path / "config.yaml"), manifest, effects)
