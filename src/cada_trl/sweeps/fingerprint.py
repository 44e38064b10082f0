"""The files of a finished cell by their content, so that one that was damaged later is found and not compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cada_trl.storage.digest import file_sha256, sha256

# What the verbs write once. Reports, logs and judges' further verdicts may be written anew and are left out.
_KEPT = ("config.yaml", "manifest.json", "train.jsonl", "probes.jsonl", "probes/*.jsonl", "final/*")
_KEPT_OF_EVALUATION = ("attempts.jsonl", "responses.jsonl", "scores.json")
_WHOLE_BYTES = 2**26  # ours: larger files, which are weights, by their size and their two ends, within a moment
_END_BYTES = 2**20

Fingerprint = dict[str, str]


def fingerprint(folders: Iterable[Path]) -> Fingerprint:
    """File -> SHA-256, for the result files of runs and evaluations."""
    files = [path for folder in folders for pattern in _patterns(folder) for path in folder.glob(pattern)]
    return {str(path): _digest(path) for path in sorted(files) if path.is_file()}


def damaged(recorded: Mapping[str, str]) -> list[str]:
    """What is no longer as recorded: `<file> is missing` or `<file> has changed`."""
    found = []
    for name, digest in recorded.items():
        path = Path(name)
        if not path.is_file():
            found.append(f"{name} is missing")
        elif _digest(path) != digest:
            found.append(f"{name} has changed")
    return found


def _patterns(folder: Path) -> tuple[str, ...]:
    return _KEPT_OF_EVALUATION if (folder / "responses.jsonl").is_file() else _KEPT


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return file_sha256(path)
    with path.open("rb") as file:
        start = file.read(_END_BYTES)
        file.seek(-_END_BYTES, os.SEEK_END)
        return sha256(f"{size} bytes".encode() + start + file.read())
