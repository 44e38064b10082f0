"""Files that appear whole or not at all, closed JSON records, locks; what the disk refuses is one line for the user."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cada_trl.errors import UserError
from cada_trl.storage.reading import parse_object, read_text

ANOTHER_FOLDER = "free space, fix the permission or choose another folder"
MADE_AGAIN = "move its folder away, and the same command makes it again"
GOES_ON = "free space, and the same command goes on"


@contextmanager
def writing(path: Path, advice: str = ANOTHER_FOLDER) -> Iterator[None]:
    """Turn a full disk or a missing permission into a UserError of one line that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def place_of(folder: str) -> Path:
    """The nearest folder that is there, in which `folder` can be made. Errors: UserError where it could not be."""
    path = Path(folder).absolute()
    with writing(path):
        place = next(above for above in [path, *path.parents] if above.exists())
    if not place.is_dir():
        raise UserError(f"cannot write {folder}: {place} is no folder; choose another folder")
    # /proc and network folders refuse what their permissions allow
    with writing(path), tempfile.TemporaryFile(dir=place):
        return place


@contextmanager
def whole(path: Path, locked: bool = False) -> Iterator[Path]:
    """A place beside `path` for a file or a folder, which becomes `path` at the end; after an error nothing is left.

    Each process has a place of its own. locked: the caller has a lock, so that places found are those of killed
    processes, and are removed. Errors: OSError.
    """
    partial = path.with_name(f"{path.name}.tmp-{socket.gethostname()}-{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if locked:
        for dead in path.parent.glob(f"{glob.escape(path.name)}.tmp-*"):
            _remove(dead)
    try:
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # a full disk still lets go of a file; a folder that is a file does not
            path.unlink()


def replace(path: Path, content: str | bytes, advice: str = ANOTHER_FOLDER) -> None:
    """Write a file whole; half of a surrogate pair is written as its escape. Errors: UserError as writing."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with writing(path, advice), whole(path) as partial:
        partial.write_bytes(data)


def replace_json(path: Path, values: Mapping[str, Any], advice: str = ANOTHER_FOLDER) -> None:
    """Write plain values as indented JSON, whole. Errors: UserError as writing; ValueError for a NaN."""
    replace(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", advice)


def replace_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as YAML in their order, whole. Errors: UserError as writing."""
    replace(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))


def read_json(path: Path, advice: str = MADE_AGAIN, finite: bool = True) -> dict[str, Any]:
    """The object in a file; finite as parse_json's. Errors: UserError for one that cannot be read or holds another."""
    try:
        return parse_object(read_text(path, advice), finite)
    except ValueError as error:
        raise UserError(f"{path} is not a JSON object ({error}); {advice}") from error


class JsonRecord(BaseModel):
    """A result as an immutable object without unknown fields: what is written can be read again, and nothing else. An
    infinite or undefined number is refused, null is "not known"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Plain objects, for json.dumps."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Inverse of to_json. Errors: UserError names the first field that is missing, unknown or wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise UserError(
                f"{cls.__name__.lower()}: {where or 'the whole'}: {problem['msg']}; it was edited or is of another "
                "version: make it again"
            ) from error


def take_lock(path: Path) -> IO[bytes]:
    """Wait for the lock of `path`; returns the open file that has it, and closing that lets go.

    The lock belongs to the open file: a child process that inherits it holds it too, and the kernel lets go when all of
    them are dead, so that no stale lock stops the next call. Errors: OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab+")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def try_lock(path: Path) -> IO[bytes] | None:
    """As take_lock; None where another process has it. Errors: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def held(
    path: Path, busy: str | None, advice: str = ANOTHER_FOLDER, waits: Callable[[], None] = lambda: None
) -> Iterator[IO[bytes]]:
    """Hold the lock of `path`, whose folder is made. Errors: UserError `busy` while another has it; None waits, after
    a call of `waits`."""
    with writing(path.parent, advice):
        file = try_lock(path)
        if file is None and busy is None:
            waits()
            file = take_lock(path)
    if file is None:
        raise UserError(str(busy))
    with file:
        yield file
