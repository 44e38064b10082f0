"""The run folder: the one place where a run writes, one process at a time, so that a resumed run continues its files.

config.yaml  manifest.json  train.jsonl  probes.jsonl  tripwires.jsonl
completions/step_000001.jsonl  probes/{before,after,step_000020}.jsonl  checkpoints/  final/
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.records import read_jsonl, write_jsonl
from cada_trl.storage.files import ANOTHER_FOLDER, replace_json, replace_yaml, try_lock, writing
from cada_trl.storage.log import append_rows
from cada_trl.tracking.metrics import checked

Row = dict[str, Any]
_LOGS = ("train", "probes", "tripwires")  # a line per step or a probe


class RunFolder(AbstractContextManager["RunFolder"]):
    """A run's folder, created and locked for this process; use it with `with`. final: the trained model.

    is_main=False is another rank of the same run: it reads the same folder, locks nothing and writes nothing.
    Errors: UserError when it cannot be written, or when another process holds it (two runs would mix their lines).
    """

    def __init__(self, path: Path, is_main: bool = True) -> None:
        self.path, self.is_main = path, is_main
        self.checkpoints, self.final = path / "checkpoints", path / "final"
        if not is_main:
            return
        with writing(path):
            for folder in (path, path / "completions", path / "probes", self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            lock = try_lock(path / "run.lock")
            if lock is None:
                owner = (path / "run.lock").read_text(encoding="utf-8").strip() or "unknown"
                raise UserError(
                    f"{path} is in use by another run (pid and host: {owner}); wait for it or choose another run_name"
                )
            lock.truncate(0)
            lock.write(f"{os.getpid()} {socket.gethostname()}\n".encode())
            lock.flush()
            self._lock = lock

    def __exit__(self, *_: object) -> None:
        if self.is_main:
            self._lock.close()

    def write_config(self, config: Config) -> None:
        """config.yaml, readable by config.check_config."""
        if self.is_main:
            replace_yaml(self.path / "config.yaml", config.model_dump())

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """manifest.json, whole, at the start and again at the end of the run."""
        if self.is_main:
            replace_json(self.path / "manifest.json", manifest)

    def append_train(self, step: int, metrics: Mapping[str, float | int | None]) -> None:
        """One line of train.jsonl. Errors: ValueError for a name that the registry does not hold."""
        self._append("train", {"step": step, **checked(metrics)})

    def append_tripwire(self, row: Row) -> None:
        self._append("tripwires", row)

    def write_completions(self, step: int, rows: Iterable[Row]) -> None:
        """completions/step_<step>.jsonl, whole: a step that is done again replaces its file."""
        self._write(f"completions/step_{step:06d}", rows)

    def write_probe(self, name: str, step: int, rows: Iterable[Row], summary: Mapping[str, float | int | None]) -> None:
        """probes/<name>.jsonl whole, its summary as a line of probes.jsonl; name is before, after or step_000020."""
        self._write(f"probes/{name}", rows)
        self._append("probes", {"step": step, "name": name, **checked(summary)})

    def truncate_after(self, step: int, probes: Collection[str] = ("after",)) -> None:
        """Drop what was written after this step (0: keep only the probe before training), and these probes.

        A run resumes from a checkpoint that may be older than its last line; what it writes again must not stand twice.
        Errors: UserError for a line that is not JSON and is not the torn last one.
        """
        if not self.is_main:
            return
        for name in _LOGS:
            path = self.path / f"{name}.jsonl"
            if path.is_file():
                rows = [row for _, row in read_jsonl(path, torn=lambda _: None)]
                write_jsonl(path, [row for row in rows if row["step"] <= step and row.get("name") not in probes])
        for path in [*self.path.glob("completions/*.jsonl"), *self.path.glob("probes/*.jsonl")]:
            if path.stem in probes or (path.stem.startswith("step_") and int(path.stem[5:]) > step):
                with writing(path):
                    path.unlink()

    def _append(self, name: str, row: Row) -> None:
        if self.is_main:
            append_rows(self.path / f"{name}.jsonl", [row], ANOTHER_FOLDER)

    def _write(self, name: str, rows: Iterable[Row]) -> None:
        """An unscored reward is null on disk: NaN is no JSON and could be read back as a number."""
        if self.is_main:
            finite = ({key: None if _is_undefined(value) else value for key, value in row.items()} for row in rows)
            write_jsonl(self.path / f"{name}.jsonl", finite)


def _is_undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
