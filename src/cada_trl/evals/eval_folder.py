"""The folder of one evaluation: named by the content of what decides its responses, held by one process at a time.

config.yaml  manifest.json  attempts.jsonl  missing.jsonl  responses.jsonl  verdicts-<judge>.jsonl  scores.json
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from cada_trl.config_loading import Section
from cada_trl.errors import UserError
from cada_trl.evals.append_log import AppendLog

Values = dict[str, Any]


def slug(text: str) -> str:
    """The text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "model"


def folder_name(model_name: str, decides: Mapping[str, Any]) -> str:
    """<model>-<hash8>."""
    return f"{slug(model_name)}-{_sha256(decides)[:8]}"


def _sha256(decides: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


class EvalFolder:
    """The files of an evaluation, read and written whole; what grows is a log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def opened(cls, path: Path, decides: Mapping[str, Any]) -> Iterator[EvalFolder]:
        """The folder for the evaluation that `decides` describes, made where there is none.

        Errors: UserError when it cannot be written, is held by another process, or belongs to another evaluation.
        """
        # The kernel lets go of the lock when a process dies, so no stale one stops the next call.
        lock = FileLock(path / "eval.lock")
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{path} is in use by another evaluation of the same model and settings; wait for it: its responses "
                "and verdicts serve this one too"
            ) from None
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; choose another evals_dir") from error
        try:
            folder = cls(path)
            folder._check_owner(decides)
            yield folder
        finally:
            lock.release()

    def _check_owner(self, decides: Mapping[str, Any]) -> None:
        there = self.read_json("manifest.json").get("decides_sha256")
        if there not in {None, _sha256(decides)}:
            raise UserError(f"{self.path} holds another evaluation; move it away or choose another evals_dir")

    def log(self, name: str) -> AppendLog:
        """A growing file of the folder, a torn last line cut off."""
        return AppendLog(self.path / name)

    def read_json(self, name: str) -> Values:
        """The object in a file; {} where there is none. Errors: UserError for a file that is not one."""
        path = self.path / name
        if not path.is_file():
            return {}
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(values, dict):
                return values
        except ValueError:
            pass
        raise UserError(f"{path} is not a JSON object; delete it: it is written anew from the other files")

    def write_config(self, config: Section) -> None:
        """config.yaml, whole."""
        self.replace("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True))

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """A JSON file, whole or not at all. Errors: ValueError for a NaN: what is not known is null."""
        self.replace(name, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_manifest(self, manifest: Mapping[str, Any], decides: Mapping[str, Any]) -> None:
        """manifest.json, with what decides the responses and its hash, by which the next call knows the folder."""
        self.write_json("manifest.json", {**manifest, "decides": decides, "decides_sha256": _sha256(decides)})

    def replace(self, name: str, text: str) -> None:
        """Write beside, then rename. Errors: UserError when the folder cannot be written."""
        path = self.path / name
        temporary = path.with_name(name + ".tmp")
        try:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            temporary.replace(path)
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; free space, and the same command goes on"
            ) from error
