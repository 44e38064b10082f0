"""Rows of a published file, whatever its kind: CSV, JSONL, a JSON object that holds a list, parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl

Numbered = Iterator[tuple[int, dict[str, Any]]]


def read_rows(
    path: Path, listed: str = "examples", has_header: bool = True, columns: Sequence[str] | None = None
) -> Numbered:
    """(row number from 1, row). A row of another kind than an object is the caller's to refuse.

    listed: where a JSON object holds its rows. has_header=False: a CSV of one text per line, read as {"text": ...}; a
    comma outside quotes belongs to it. columns: of parquet, None for all. Errors: UserError for a file of another kind.
    """
    if path.suffix == ".csv":
        return _csv_rows(path, has_header)
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".parquet":
        return enumerate(_parquet_rows(path, columns), start=1)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))[listed]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no JSON object with rows under '{listed}'; is it the published file?") from error
    if not isinstance(rows, list):
        raise UserError(f"{path}: '{listed}' holds a {type(rows).__name__}; expected the list of rows")
    return enumerate(rows, start=1)


def _csv_rows(path: Path, has_header: bool) -> Numbered:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if has_header:
                yield from enumerate(csv.DictReader(file), start=1)
            else:
                texts = (",".join(row) for row in csv.reader(file) if row)
                yield from enumerate(({"text": text} for text in texts), start=1)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV in UTF-8 ({error}); is it the published file?") from error


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows: list[dict[str, Any]] = read_table(path, columns=columns).to_pylist()
    except (ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as parquet ({reason}); is it the published file?") from error
    return rows
