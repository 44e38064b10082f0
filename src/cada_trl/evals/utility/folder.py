"""Where results are: <utility_dir>/<model>-<hash8>/<task>-<hash8>/, written whole, by one process at a time.

The model's folder: config.yaml and manifest.json of the last call. A task's: definitions/ (lm-eval's task files),
answers.jsonl (as they came), samples.jsonl (one line a question) and result.json, which is written last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.tracking.run_folder import writing


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder, made where it is not, for this process alone. Errors: UserError while another process holds it."""
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "folder.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(f"{folder} is in use by another process; wait for it") from None
    try:
        yield folder
    finally:
        lock.release()


def replace(path: Path, text: str) -> None:
    """Write the file whole: beside it, then renamed. Errors: UserError."""
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The values as JSON, whole; a NaN raises ValueError, since it is no JSON and no number."""
    replace(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file. Errors: UserError for a file that is missing or holds none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as JSON; move its folder away, and the same command makes it again"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object; move its folder away, and the same command makes it again")
    return values
