"""A model's utility folder as read: the results of its finished tasks, each number checked to be one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.utility.compare import results_folder
from cada_trl.reporting.stored_config import read_config
from cada_trl.storage.files import read_json

Row = dict[str, Any]


@dataclass(frozen=True)
class UtilityRecord:
    """One model's folder. results: result.json of each finished task; unfinished: task folders without one."""

    path: Path
    config: Row
    manifest: Row
    results: list[Row]
    unfinished: list[str]

    @property
    def name(self) -> str:
        return self.path.resolve().name


def read_utility(path: Path) -> UtilityRecord:
    """Read <utility_dir>/<model>-<hash8>. Errors: UserError without a finished task and for a damaged file."""
    folders = sorted(folder for folder in results_folder(path).iterdir() if (folder / "definitions").is_dir())
    finished = sorted(path.glob("*/result.json"))
    manifest = read_json(path / "manifest.json")
    return UtilityRecord(
        path,
        read_config(path / "config.yaml"),
        manifest,
        [_result(file) for file in finished],
        [folder.name for folder in folders if folder / "result.json" not in finished],
    )


def _result(path: Path) -> Row:
    result = read_json(path)
    task = (result.get("plan") or {}).get("task") if isinstance(result.get("plan"), dict) else None
    rates = [result.get("accuracy"), *(result.get("other_filters") or {}).values()]
    whole = isinstance(task, dict) and {"name", "num_fewshot", "chat_template", "filter"} <= task.keys()
    if not whole or not all(_is_rate(rate) for rate in rates):
        raise UserError(f"{path} is no result of a utility task; move its folder away, and the same command makes it")
    return result


def _is_rate(rate: Any) -> bool:
    if not isinstance(rate, dict) or not all(
        isinstance(rate.get(key), int | float) for key in ("value", "low", "high")
    ):
        return False
    return bool(0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1 and isinstance(rate.get("n"), int))
