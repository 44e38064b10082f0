"""What a folder's rows were when its writer ended, in its manifest: edited or deleted afterwards, they are noticed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.digest import sha256


def kept(folder: Path) -> dict[str, list[Any]]:
    """Each JSONL file in the folder and one level below -> [its bytes, its SHA-256], for `files` of the manifest."""
    paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")])
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {name: [len(content), sha256(content)] for name, content in contents.items()}


def check_kept(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Says in a line where an older version recorded nothing. A writer that was killed may have added rows.

    Errors: UserError names the first file that was edited or deleted.
    """
    running, files = manifest.get("exit_state") == "running", manifest.get("files")
    if files is None:
        if manifest and not running:
            print(f"{folder}: written without hashes of its rows, so edits of them cannot be noticed", file=sys.stderr)
        return
    for name, (n_bytes, digest) in files.items():
        path = folder / name
        content = path.read_bytes() if path.is_file() else None
        if content is None or sha256(content[:n_bytes] if running else content) != digest:
            raise UserError(
                f"{path} was {'deleted' if content is None else 'edited'} after it was written: manifest.json has "
                "another SHA-256; restore it, or move the folder away and make it again"
            )
