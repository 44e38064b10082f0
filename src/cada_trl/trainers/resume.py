"""Which checkpoint a run goes on from: the newest whole one; what was cut off while saving is removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.files import replace_json

COMPLETE_FILE = "complete.json"


def mark_complete(checkpoint: Path, step: int, n_processes: int, zero_stage: int = 0) -> None:
    """Written last into a checkpoint, in one move: its step, who wrote it and how, and each file's size.

    zero_stage: how DeepSpeed splits the optimiser that was saved; 0 without DeepSpeed.
    """
    sizes = {str(file.relative_to(checkpoint)): file.stat().st_size for file in _files(checkpoint)}
    facts = {"step": step, "n_processes": n_processes, "zero_stage": zero_stage, "bytes": sizes}
    replace_json(checkpoint / COMPLETE_FILE, facts)


def newest_complete(
    checkpoints: Path, tidy: bool = True, say: Callable[[str], None] = lambda _: None
) -> tuple[Path, int] | None:
    """(folder, step) of the newest whole checkpoint, or None; others, left by a killed run, are deleted and said.

    tidy=False deletes and says nothing: one rank is enough for that.
    """
    found = []
    for folder in sorted(checkpoints.glob("checkpoint-*")):
        mark = _mark(folder)
        if mark is not None:
            found.append((mark["step"], folder))
        elif tidy:
            say(f"{folder} is not whole, as a run leaves it that dies while it saves: it is removed")
            shutil.rmtree(folder)
    if not found:
        return None
    step, folder = max(found)
    return folder, step


def check_same_ranks(checkpoint: Path, n_processes: int, zero_stage: int) -> None:
    """Refuse another number of processes or another split: random states and shards of the optimiser belong to a rank
    each, and without its file transformers would start the optimiser anew and say nothing.

    Errors: UserError.
    """
    mark = _mark(checkpoint) or {}
    saved_by = mark.get("n_processes", n_processes)
    if saved_by != n_processes:
        raise UserError(
            f"{checkpoint} was saved by {saved_by} process(es) and this run has {n_processes}; set "
            f"n_processes={saved_by} (or its hardware=), or choose another run_name to start anew"
        )
    saved_stage = mark.get("zero_stage", zero_stage)
    if saved_stage != zero_stage:
        raise UserError(
            f"{checkpoint} was saved under ZeRO stage {saved_stage} and this run has stage {zero_stage} (0: without "
            "DeepSpeed); go on with the launch file of before, or choose another run_name to start anew"
        )


def _mark(checkpoint: Path) -> dict[str, Any] | None:
    """What complete.json says, where every file that it names is there in its size."""
    try:
        mark: dict[str, Any] = json.loads((checkpoint / COMPLETE_FILE).read_text())
        whole = all((checkpoint / name).stat().st_size == size for name, size in mark.get("bytes", {}).items())
    except (OSError, ValueError):
        return None
    return mark if whole else None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
