"""lm-eval task files of one task: its published definition, included; only the data's place and the shots are ours."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from cada_trl.errors import UserError
from cada_trl.evals.utility.task import TaskSpec
from cada_trl.storage.digest import sha256_of
from cada_trl.storage.files import replace


def lm_eval_version() -> str:
    """The installed lm-eval's version. Errors: UserError names the extra when it is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError("lm-eval is not installed; pip install -e '.[utility]'")
    return version("lm_eval")


def definitions_sha256(task: TaskSpec) -> str:
    """SHA-256 over the files beside the published definition: prompts, filters, metrics. Errors: as lm_eval_version."""
    folder = _published(task.definition.format(subset=next(iter(task.subsets)))).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc")
    return sha256_of(path.name.encode() + b"\0" + path.read_bytes() for path in files)


def write_definitions(task: TaskSpec, subsets: Collection[str], data_root: Path | None, folder: Path) -> str:
    """Write one YAML file a subset into folder, and the group's; returns the name by which lm-eval loads them all.

    data_root None leaves lm-eval's own source, the hub. Errors: UserError for an lm-eval without the definition.
    """
    for subset in subsets:
        _write(folder / f"{subset}.yaml", _leaf(task, subset, data_root))
    if task.group is None or task.group_definition is None:
        return task.leaf_of(next(iter(subsets)))
    members = [task.leaf_of(subset) for subset in subsets]
    _write(folder / "_group.yaml", {"include": str(_published(task.group_definition)), "task": members})
    return task.group


def _leaf(task: TaskSpec, subset: str, data_root: Path | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "include": str(_published(task.definition.format(subset=subset))),
        "task": task.leaf_of(subset),
        "num_fewshot": task.num_fewshot,
    }
    return values if data_root is None else {**values, **_local(task, subset, data_root.resolve())}


def _local(task: TaskSpec, subset: str, data_root: Path) -> dict[str, Any]:
    files = task.files
    data_files = {"test": str(data_root / files.test.format(subset=subset))}
    if files.fewshot is not None:
        data_files["dev"] = str(data_root / files.fewshot.format(subset=subset))
    loading: dict[str, Any] = {"data_files": data_files}
    if files.field is not None:
        loading["field"] = files.field
    if files.subset_column is not None:
        loading["filters"] = [[files.subset_column, "==", subset]]
    return {
        "dataset_path": files.format,
        "dataset_name": None,
        "dataset_kwargs": loading,
        "training_split": None,
        "fewshot_split": None if files.fewshot is None else "dev",
    }


def _published(relative: str) -> Path:
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise UserError("lm-eval is not installed; pip install -e '.[utility]'")
    path = Path(found.submodule_search_locations[0]) / "tasks" / relative
    if not path.is_file():
        raise UserError(f"lm-eval {version('lm_eval')} has no task file {relative}; pip install -e '.[utility]' has it")
    return path


def _write(path: Path, values: dict[str, Any]) -> None:
    replace(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
