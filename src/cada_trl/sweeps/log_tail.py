"""The end of a job's log, for the terminal."""

from __future__ import annotations

from pathlib import Path

_N_LINES = 15
_READ_BYTES = 2**16


def log_tail(path: Path) -> str:
    """The last lines, indented under the file's name."""
    return "\n".join([f"  {path}:", *(f"  | {line}" for line in _lines(path)[-_N_LINES:] or ["(empty)"])])


def last_line(path: Path) -> str:
    """What was printed last; nothing yet is an empty text."""
    return next((line for line in reversed(_lines(path)) if line.strip()), "")


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _READ_BYTES))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
