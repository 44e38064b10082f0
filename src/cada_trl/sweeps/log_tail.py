"""The end of a job's log, as one block for the terminal."""

from __future__ import annotations

from pathlib import Path

_N_LINES = 15
_READ_BYTES = 2**16


def log_tail(path: Path) -> str:
    """The last lines, indented under the file's name."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _READ_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join([f"  {path}:", *(f"  | {line}" for line in lines[-_N_LINES:] or ["(empty)"])])
