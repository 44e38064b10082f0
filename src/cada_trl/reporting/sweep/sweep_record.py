"""A sweep's folder as read: its cells grouped by configuration, with the folders of those that are done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.reporting.evaluation.eval_record import EvalRecord, read_evaluation
from cada_trl.reporting.run.run_record import RunRecord, read_run

SWEEP = "sweep.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class CellRecord:
    """One trained model, or an initial one (seed and run are None). label: the configuration in words."""

    id: str
    label: str
    config_hash: str
    seed: int | None
    run: RunRecord | None
    evaluations: list[EvalRecord]


@dataclass(frozen=True)
class SweepRecord:
    """cells: those that are done and whose folders are there, in the axes' order; missing says why others are not."""

    path: Path
    values: Row
    initial: list[CellRecord]
    cells: list[CellRecord]
    missing: list[str]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def runs(self) -> list[tuple[str, RunRecord]]:
        """The trained cells, each by its configuration and seed."""
        return [(f"{cell.label}, seed {cell.seed}", cell.run) for cell in self.cells if cell.run is not None]


def read_sweep(path: Path) -> SweepRecord:
    """Read sweep.json and the folders that it names. Errors: UserError for a sweep.json that is damaged.

    A cell without numbers, and one whose folder is gone or damaged, is said in `missing` and never shown as a point.
    """
    file = path / SWEEP
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        rows = [(row, True) for row in values["initial"]] + [(row, False) for row in values["cells"]]
        missing: list[str] = []
        read = [(_cell(path, values, row, initial, missing), initial) for row, initial in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} cannot be read ({error!r:.80}); the sweep's command writes it anew") from error
    initial = [cell for cell, is_initial in read if is_initial and cell]
    return SweepRecord(path, values, initial, [cell for cell, is_initial in read if not is_initial and cell], missing)


def _cell(path: Path, values: Row, row: Row, initial: bool, missing: list[str]) -> CellRecord | None:
    label = f"initial {row['model']}" if initial else _label(values, row)
    about = label if initial else f"{label}, seed {row['seed']}"
    if row["state"] != "done":
        missing.append(f"{about}: {row['state']}" + (f" ({row['reason']})" if row["reason"] else ""))
        return None
    try:
        run = None if initial else read_run(_found(path, row["run_folder"]))
        evaluations = [read_evaluation(_found(path, one)) for one in row["evaluations"]]
    except UserError as error:
        missing.append(f"{about}: {error}")
        return None
    digest = row["id"] if initial else row["config_hash"]
    return CellRecord(row["id"], label, digest, None if initial else row["seed"], run, evaluations)


def _label(values: Row, row: Row) -> str:
    """The axes' values, and the model where the cells have several."""
    words = [f"{axis}={value}" for axis, value in row["axes"].items() if axis != "model"]
    several = len({one["model"] for one in values["cells"]}) > 1
    return ", ".join([row["model"], *words] if several or not words else words)


def _found(path: Path, folder: str) -> Path:
    """Folders are relative to where the sweep was called, which mostly is two above its own."""
    beside = path.resolve().parent.parent / folder
    return Path(folder) if Path(folder).is_dir() or not beside.is_dir() else beside
