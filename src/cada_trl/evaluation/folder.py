"""The folder of one evaluation: named by the content of what decides its answers, held by one process at a time.

config.yaml and manifest.json of the last call, and what the verb writes: attempts.jsonl, missing.jsonl,
responses.jsonl, verdicts-<judge>.jsonl and scores.json; effects.json; or a folder per utility task.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cada_trl.config.loading import Section
from cada_trl.errors import UserError
from cada_trl.storage.digest import CONFIG, MANIFEST, check_kept, content_hash, json_sha256, sealed
from cada_trl.storage.files import GOES_ON, held, read_json, replace_json, replace_yaml
from cada_trl.storage.log import AppendLog
from cada_trl.tracking.manifest import exit_state, finished, now_utc, provenance, scrub

ATTEMPTS, MISSING, RESPONSES = "attempts.jsonl", "missing.jsonl", "responses.jsonl"
SCORES, EFFECTS = "scores.json", "effects.json"


def slug(text: str) -> str:
    """The text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "model"


def folder_name(model_name: str, decides: Mapping[str, Any]) -> str:
    """<model>-<hash8>."""
    return f"{slug(model_name)}-{content_hash(decides)}"


def verdict_file(judge_id: str) -> str:
    """The name of a judge's file; the id holds model, wording and version, so another of these is another file."""
    return f"verdicts-{slug(judge_id)}.jsonl"


class EvaluationFolder:
    """The files of an evaluation, read and written whole; what grows is a log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = {}

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, decides: Mapping[str, Any], config: Section, facts: Mapping[str, Any]
    ) -> Iterator[EvaluationFolder]:
        """The folder for the evaluation that `decides` describes, made where there is none; for this process alone.

        The manifest has `facts`, and says how the call ended, whatever happens. Errors: UserError when the folder
        cannot be written, is held by another process, belongs to another evaluation, or was edited since it ended.
        """
        busy = (
            f"{path} is in use by another evaluation of the same model and settings; wait for it: what it asks and "
            "judges serves this one too"
        )
        with held(path / "folder.lock", busy):
            folder = cls(path)
            before, decided = folder.read_json(MANIFEST), json_sha256(decides)
            if before.get("decides_sha256") not in {None, decided}:
                raise UserError(f"{path} holds another evaluation; move it away or choose another folder")
            check_kept(path, before)
            running = {"exit_state": "running", "started_utc": now_utc(), "ended_utc": None, "wall_s": None}
            walls = {name: before.get(name, {}) for name in ("pass_wall_s", "shard_wall_s")}
            shown = scrub({"name": path.name, **running, **walls, **facts, **provenance()})
            # These are written whole by each call, and so may be others than its last one's when it is killed.
            anew = {CONFIG, ATTEMPTS, MISSING, EFFECTS}
            files = {name: file for name, file in (before.get("files") or {}).items() if name not in anew}
            folder.manifest = {**shown, "decides": decides, "decides_sha256": decided, "files": files}
            folder.write_json(MANIFEST, folder.manifest)
            replace_yaml(path / CONFIG, config.model_dump())
            try:
                yield folder
            except BaseException as error:
                folder._end(exit_state(error))
                raise
            folder._end("done")

    def _end(self, state: str) -> None:
        self.write_json(MANIFEST, sealed(self.path, finished(self.manifest, state)))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add this pass's wall time (s) to what earlier calls spent on it; a killed call's time is not known."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = self.manifest["pass_wall_s"].get(name, 0.0)
            self.manifest["pass_wall_s"][name] = round(spent + time.monotonic() - started, 1)

    def log(self, name: str) -> AppendLog:
        """A growing file of the folder, a torn last line cut off."""
        return AppendLog(self.path / name)

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in a file; {} where there is none. Errors: UserError for a file that is not one."""
        path = self.path / name
        return read_json(path, "delete it: it is written anew from the other files") if path.is_file() else {}

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """A JSON file, whole or not at all. Errors: ValueError for a NaN: what is not known is null."""
        replace_json(self.path / name, values, GOES_ON)
