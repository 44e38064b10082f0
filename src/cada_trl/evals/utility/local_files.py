"""A task's local files: checked row by row before anything is asked, and known by their SHA-256."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.utility.task import TaskSpec
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import file_sha256

Row = dict[str, Any]


def check_files(task: TaskSpec, data_root: Path) -> dict[str, str]:
    """Path below data_root -> SHA-256, of every file that the task reads.

    Errors: UserError for a file that is missing or unreadable, a row without one of the columns, a subset with another
    number of rows than published, and too few examples for num_fewshot.
    """
    if not data_root.is_dir():
        raise UserError(f"data_root={data_root} is not a folder; expected one with {task.files.test}, or null: hub")
    counts = _counts(task, data_root, task.files.test)
    for subset, published in task.subsets.items():
        if counts[subset] != published:
            raise UserError(
                f"{task.name}: {counts[subset]} rows of {subset} in {data_root / _path(task.files.test, subset)}; "
                f"expected the published {published} ({task.source}): get the file again"
            )
    if task.files.fewshot is not None:
        examples = _counts(task, data_root, task.files.fewshot)
        for subset in task.subsets:
            if examples[subset] < task.num_fewshot:
                raise UserError(
                    f"{task.name}: {examples[subset]} examples of {subset} in {data_root / task.files.fewshot}; "
                    f"expected at least {task.num_fewshot} ({task.source})"
                )
    return {path: file_sha256(data_root / path) for path in _paths(task)}


def _path(pattern: str, subset: str) -> str:
    return pattern.format(subset=subset)


def _paths(task: TaskSpec) -> list[str]:
    patterns = [pattern for pattern in (task.files.test, task.files.fewshot) if pattern is not None]
    return sorted({_path(pattern, subset) for pattern in patterns for subset in task.subsets})


def _counts(task: TaskSpec, data_root: Path, pattern: str) -> Counter[str]:
    """Rows of each subset, all of them checked."""
    column = task.files.subset_column
    counts: Counter[str] = Counter()
    for name, path in {_path(pattern, subset): subset for subset in task.subsets}.items():
        for number, row in _rows(task, data_root / name):
            _check_row(task, data_root / name, number, row)
            counts[row[column] if column else path] += 1
    return counts


def _rows(task: TaskSpec, path: Path) -> Iterator[tuple[int, Row]]:
    if not path.is_file():
        raise UserError(f"{task.name}: no file {path}; get it from {task.source}, or set data_root=null for the hub")
    if task.files.format == "parquet":
        return _parquet_rows(task, path)
    if task.files.field is None:
        return read_jsonl(path)
    return _listed_rows(path, task.files.field)


def _parquet_rows(task: TaskSpec, path: Path) -> Iterator[tuple[int, Row]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows = read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet ({_first_line(error)}); see {task.source}") from error
    return iter(enumerate(rows, start=1))


def _listed_rows(path: Path, field: str) -> Iterator[tuple[int, Row]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))[field]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no JSON object with rows under '{field}'; is it the published file?") from error
    if not isinstance(rows, list):
        raise UserError(f"{path}: '{field}' holds a {type(rows).__name__}; expected the list of rows")
    return iter(enumerate(rows, start=1))


def _check_row(task: TaskSpec, path: Path, number: int, row: Mapping[str, Any]) -> None:
    columns = dict(task.files.columns)
    wanted = columns if task.files.subset_column is None else {**columns, task.files.subset_column: "text"}
    for column, kind in wanted.items():
        value = row.get(column) if isinstance(row, dict) else None
        if not _is(kind, value):
            raise UserError(
                f"{path}, row {number}: '{column}' is {str(value)[:40]!r}; expected {kind.replace('_', ' ')}: is it "
                "the published file?"
            )


def _is(kind: str, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str) and bool(value.strip())
    if kind == "index":
        return isinstance(value, int) and 0 <= value < 4
    return isinstance(value, list) and len(value) == 4 and all(isinstance(choice, str) for choice in value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
