"""A JSONL file that only grows and that kill -9 leaves usable: what append() returned from is on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError

Row = dict[str, Any]


class StoredLog:
    """The file's rows, as read; the file is left as it is, so that it may be in use. No file: no rows.

    A last line without its end was torn by a kill, or is being written: it is left out. Errors: UserError for any other
    line that is not a JSON object, and for a file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            whole = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; fix its permission") from error
        kept = whole[: whole.rfind(b"\n") + 1]
        self._torn = len(kept) < len(whole)
        self._kept_bytes = len(kept)
        self.rows = [self._row(number, line) for number, line in enumerate(kept.splitlines(), start=1)]

    def _row(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
            if isinstance(row, dict):
                return row
        except ValueError:  # not JSON, or not UTF-8
            pass
        raise UserError(f"{self.path}, row {number}: not a JSON object; the file was edited: delete that line")


class AppendLog(StoredLog):
    """The rows of a file that one process at a time appends to; the caller holds the folder's lock.

    A torn last line is cut off, so that its item is done again. Errors: UserError as StoredLog, and for a file that
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            if self._torn:
                os.truncate(path, self._kept_bytes)
        except OSError as error:
            raise UserError(f"cannot use {path}: {error.strerror}; fix its permission") from error

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows and wait for the disk; half of a surrogate pair is written as its JSON escape."""
        added = list(rows)
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in added)
        try:
            with self.path.open("ab") as file:
                file.write(text.encode("utf-8", errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; free space, and the same command goes on"
            ) from error
        self.rows.extend(added)
