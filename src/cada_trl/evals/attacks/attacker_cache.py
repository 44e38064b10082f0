"""What an attacker wrote is paid for once: an append-only JSONL that a kill and several evaluations leave whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cada_trl.storage.digest import sha256
from cada_trl.storage.log import SharedLog

Row = dict[str, Any]
Key = tuple[str, str, str]  # the attack's version, hash of the request, part


class AttackerCache:
    """Rows by (version, request, part); the request is stored as its hash only.

    version names the attack, the attacker and all that was said to it; part tells the rows of one request apart (a turn
    of PAIR), a rewrite has one with part "". The first row of a key counts, whoever wrote it, so that two evaluations
    at once attack with the same prompts. Errors: UserError as SharedLog.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Key, Row] = {}
        self._log = SharedLog(path, "attacker cache", self._remember)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, version: str, request: str, part: str = "") -> Row | None:
        """The stored row, or None."""
        return self._known.get(_key(version, request, part))

    def put(self, version: str, request: str, row: Row, part: str = "") -> Row:
        """Store a row on disk at once; returns the row that counts, which is another's if that one came first."""
        key = _key(version, request, part)
        with self._log.alone() as append:
            if key not in self._known:
                append(dict(zip(("version", "request", "part"), key, strict=True)) | {"row": row})
        return self._known[key]

    def _remember(self, stored: Row) -> None:
        key = (stored["version"], stored["request"], stored["part"])
        self._known.setdefault(key, dict(stored["row"]))


def _key(version: str, request: str, part: str) -> Key:
    return version, sha256(request)[:32], part
