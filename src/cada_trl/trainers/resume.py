"""Which checkpoint a run goes on from: the newest whole one; what was cut off while saving is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

COMPLETE_FILE = "complete.json"


def mark_complete(checkpoint: Path, step: int) -> None:
    """Written last into a checkpoint."""
    (checkpoint / COMPLETE_FILE).write_text(json.dumps({"step": step}))


def newest_complete(checkpoints: Path, tidy: bool = True) -> tuple[Path, int] | None:
    """(folder, step) of the newest complete checkpoint, or None; incomplete ones, left by a killed run, are deleted.

    tidy=False deletes nothing: one rank is enough for that.
    """
    found = []
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / COMPLETE_FILE).is_file():
            found.append((int(folder.name.rsplit("-", 1)[1]), folder))
        elif tidy:
            shutil.rmtree(folder)
    if not found:
        return None
    step, folder = max(found)
    return folder, step
