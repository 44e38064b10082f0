"""The folder of one evaluation: named by the content of what decides its responses, held by one process at a time.

config.yaml  manifest.json  attempts.jsonl  missing.jsonl  responses.jsonl  verdicts-<judge>.jsonl  scores.json
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cada_trl.config.loading import Section
from cada_trl.errors import UserError
from cada_trl.storage.digest import content_hash, json_sha256
from cada_trl.storage.files import GOES_ON, held, read_json, replace, replace_json
from cada_trl.storage.log import AppendLog

Values = dict[str, Any]


def slug(text: str) -> str:
    """The text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "model"


def folder_name(model_name: str, decides: Mapping[str, Any]) -> str:
    """<model>-<hash8>."""
    return f"{slug(model_name)}-{content_hash(decides)}"


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
        busy = (
            f"{path} is in use by another evaluation of the same model and settings; wait for it: its responses "
            "and verdicts serve this one too"
        )
        with held(path / "eval.lock", busy, "choose another evals_dir"):
            folder = cls(path)
            folder._check_owner(decides)
            yield folder

    def _check_owner(self, decides: Mapping[str, Any]) -> None:
        there = self.read_json("manifest.json").get("decides_sha256")
        if there not in {None, json_sha256(decides)}:
            raise UserError(f"{self.path} holds another evaluation; move it away or choose another evals_dir")

    def log(self, name: str) -> AppendLog:
        """A growing file of the folder, a torn last line cut off."""
        return AppendLog(self.path / name)

    def read_json(self, name: str) -> Values:
        """The object in a file; {} where there is none. Errors: UserError for a file that is not one."""
        path = self.path / name
        return read_json(path, "delete it: it is written anew from the other files") if path.is_file() else {}

    def write_config(self, config: Section) -> None:
        """config.yaml, whole."""
        text = yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)
        replace(self.path / "config.yaml", text, GOES_ON)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """A JSON file, whole or not at all. Errors: ValueError for a NaN: what is not known is null."""
        replace_json(self.path / name, values, GOES_ON)

    def write_manifest(self, manifest: Mapping[str, Any], decides: Mapping[str, Any]) -> None:
        """manifest.json, with what decides the responses and its hash, by which the next call knows the folder."""
        self.write_json("manifest.json", {**manifest, "decides": decides, "decides_sha256": json_sha256(decides)})
