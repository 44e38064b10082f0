"""JSONL files that only grow and that kill -9 leaves usable: what an append returned from is on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from cada_trl.errors import UserError
from cada_trl.storage.files import GOES_ON, take_lock, writing
from cada_trl.storage.reading import opened, parse_object

Row = dict[str, Any]
V = TypeVar("V")


def append_rows(path: Path, rows: Iterable[Row], advice: str = GOES_ON) -> None:
    """Write rows at the file's end and wait for the disk; half of a surrogate pair is written as its JSON escape."""
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    with writing(path, advice), path.open("ab") as file:
        file.write(text.encode(errors="backslashreplace"))
        file.flush()
        os.fsync(file.fileno())


class StoredLog:
    """The file's rows, as read; the file is left as it is, so that it may be in use. No file: no rows.

    A last line without its end was torn by a kill, or is being written: it is left out. Errors: UserError for any other
    line that is not a JSON object, and for a file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = b""
        if path.exists():
            with opened(path, "fix its permission, or move it away") as file:
                content = file.read()
        kept = content[: content.rfind(b"\n") + 1]
        self._torn = len(kept) < len(content)
        self._kept_bytes = len(kept)
        self.rows = [self._row(number, line) for number, line in enumerate(kept.splitlines(), start=1)]

    def _row(self, number: int, line: bytes) -> Row:
        try:
            return parse_object(line)
        except ValueError as error:
            raise UserError(
                f"{self.path}, row {number}: not a JSON object ({error}); the file was edited: delete that line"
            ) from error


class AppendLog(StoredLog):
    """The rows of a file that one process at a time appends to; the caller holds the folder's lock.

    A torn last line is cut off, so that its item is done again. Errors: UserError as StoredLog, and for a file that
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if self._torn:
            with writing(path, "fix its permission"):
                os.truncate(path, self._kept_bytes)

    def append(self, rows: Iterable[Row]) -> None:
        """As append_rows."""
        added = list(rows)
        append_rows(self.path, added)
        self.rows.extend(added)


class SharedTable(Generic[V]):
    """A cache file that several processes and threads add rows to. name: of the cache, as in "verdict cache".

    keys: the fields of a row that are its key. value: a row's value. The first row of a key counts, whoever wrote it. A
    torn or foreign line, one that is no object or has no such key and value (KeyError, TypeError, ValueError), is
    passed over: what it held is asked for again. known: key -> value, as far as the file was read. Errors: UserError
    when the file cannot be used.
    """

    def __init__(self, path: Path, name: str, keys: Sequence[str], value: Callable[[Row], V]) -> None:
        self.path = path
        self.known: dict[tuple[str, ...], V] = {}
        self._name, self._keys, self._value, self._n_read_bytes = name, keys, value, 0
        with self._alone():
            pass

    def put(self, key: tuple[str, ...], values: Row) -> V:
        """Add a row, at once on the disk; returns the value that counts, which is another's if that one came first."""
        with self._alone() as file:
            if key not in self.known:
                file.write(json.dumps(dict(zip(self._keys, key, strict=True)) | values).encode() + b"\n")
                file.flush()
                self._catch_up(file)
        return self.known[key]

    @contextmanager
    def _alone(self) -> Iterator[IO[bytes]]:
        """The file for us alone, its rows all known."""
        try:
            with take_lock(self.path) as file:
                _end_torn_line(file)
                self._catch_up(file)
                yield file
        except OSError as error:
            raise UserError(
                f"cannot use the {self._name} {self.path}: {error.strerror}; free space or choose a writable folder"
            ) from error

    def _catch_up(self, file: IO[bytes]) -> None:
        file.seek(self._n_read_bytes)
        for line in file:
            try:
                row = parse_object(line)
                self.known.setdefault(tuple(row[field] for field in self._keys), self._value(row))
            except (KeyError, TypeError, ValueError):
                continue
        self._n_read_bytes = file.tell()


def _end_torn_line(file: IO[bytes]) -> None:
    """Otherwise the next row would be glued to what a kill left."""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
            file.flush()
