"""What an attacker wrote is paid for once: an append-only JSONL that a kill and several evaluations leave whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from cada_trl.errors import UserError

Row = dict[str, Any]
Key = tuple[str, str, str]  # the attack's version, hash of the request, part


class AttackerCache:
    """Rows by (version, request, part); the request is stored as its hash only.

    version names the attack, the attacker and all that was said to it; part tells the rows of one request apart (a turn
    of PAIR), a rewrite has one with part "". The first row of a key counts, whoever wrote it, so that two evaluations
    at once attack with the same prompts. A line that a kill tore is ignored: it is asked for again.
    Errors: UserError when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Key, Row] = {}
        self._n_read_bytes = 0
        self._lock = FileLock(path.with_suffix(path.suffix + ".lock"))
        with self._opened():
            pass

    def __len__(self) -> int:
        return len(self._known)

    def get(self, version: str, request: str, part: str = "") -> Row | None:
        """The stored row, or None."""
        return self._known.get(_key(version, request, part))

    def put(self, version: str, request: str, row: Row, part: str = "") -> Row:
        """Store a row on disk at once; returns the row that counts, which is another's if that one came first."""
        key = _key(version, request, part)
        with self._opened() as file:
            if key not in self._known:
                line = dict(zip(("version", "request", "part"), key, strict=True)) | {"row": row}
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                self._catch_up(file)
        return self._known[key]

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The file for us alone, with whole lines only and every one of them known."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self.path.open("ab+") as file:
                _end_torn_line(file)
                self._catch_up(file)
                yield file
        except OSError as error:
            raise UserError(
                f"cannot use the attacker cache {self.path}: {error.strerror}; free space or choose a writable folder"
            ) from error

    def _catch_up(self, file: BinaryIO) -> None:
        """Read what was written since the last look, by this process or another."""
        file.seek(self._n_read_bytes)
        for line in file:
            self._remember(line)
        self._n_read_bytes = file.tell()

    def _remember(self, line: bytes) -> None:
        try:
            stored = json.loads(line)
            key = (stored["version"], stored["request"], stored["part"])
            self._known.setdefault(key, dict(stored["row"]))
        except (ValueError, KeyError, TypeError):
            return


def _end_torn_line(file: BinaryIO) -> None:
    """Otherwise the next row would be glued to what a kill left."""
    if file.seek(0, 2):
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
            file.flush()


def _key(version: str, request: str, part: str) -> Key:
    return version, hashlib.sha256(request.encode("utf-8", errors="surrogatepass")).hexdigest()[:32], part
