"""Rows of a published file, whatever its kind: CSV, JSONL, a JSON object that holds a list, parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import PUBLISHED, Numbered, opened, read_csv


def read_rows(
    path: Path, listed: str = "examples", has_header: bool = True, columns: Sequence[str] | None = None
) -> Numbered:
    """(row number from 1, row). A row of another kind than an object is the caller's to refuse.

    listed: where a JSON object holds its rows. has_header: of a CSV, as read_csv. columns: of parquet, None for all.
    Errors: UserError for a file of another kind.
    """
    if path.suffix == ".csv":
        return read_csv(path, has_header)
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".parquet":
        return enumerate(_parquet_rows(path, columns), start=1)
    rows = read_json(path, PUBLISHED).get(listed)
    if not isinstance(rows, list):
        raise UserError(f"{path}: '{listed}' holds a {type(rows).__name__}; expected the list of rows")
    return enumerate(rows, start=1)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        with opened(path, PUBLISHED) as file:
            rows: list[dict[str, Any]] = read_table(file, columns=columns).to_pylist()
    except (ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as parquet ({reason}); {PUBLISHED}") from error
    return rows
