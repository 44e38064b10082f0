"""What a folder's rows were when its writer ended, in its manifest: edited or deleted afterwards, they are noticed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.digest import file_sha256, sha256
from cada_trl.storage.reading import opened


def kept(folder: Path) -> dict[str, list[Any]]:
    """Each JSONL file in the folder and one level below -> [its bytes, its SHA-256], for `files` of the manifest."""
    paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")])
    return {str(path.relative_to(folder)): [path.stat().st_size, file_sha256(path)] for path in paths}


def check_kept(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Says in a line where an older version recorded nothing, and which file was deleted: who needs it says so, too.
    A writer that was killed may have added rows.

    Errors: UserError names the first file that was edited.
    """
    running, files = manifest.get("exit_state") == "running", manifest.get("files")
    if files is None:
        if manifest and not running:
            _say_once(f"{folder}: written without hashes of its rows, so edits of them cannot be noticed")
        return
    try:
        recorded = {folder / name: (int(n_bytes), str(digest)) for name, (n_bytes, digest) in files.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'manifest.json'}: `files` is of another form; restore it") from error
    for path, (n_bytes, digest) in recorded.items():
        if not path.is_file():
            _say_once(f"{path} was deleted after it was written")
        elif _sha256(path, n_bytes if running else None) != digest:
            raise UserError(
                f"{path} was edited after it was written: manifest.json has another SHA-256; restore it, or move the "
                "folder away and make it again"
            )


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def _sha256(path: Path, n_bytes: int | None) -> str:
    """Of the first n_bytes, or of the whole file."""
    if n_bytes is None:
        return file_sha256(path, "restore it")
    with opened(path, "restore it") as file:
        return sha256(file.read(n_bytes))
