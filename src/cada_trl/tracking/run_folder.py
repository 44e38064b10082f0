"""The run folder: the one place where a run writes, one process at a time, so that a resumed run continues its files.

config.yaml  manifest.json  train.jsonl  probes.jsonl  tripwires.jsonl
completions/step_000001.jsonl  probes/{before,after,step_000020}.jsonl  checkpoints/  final/
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.records import write_jsonl
from cada_trl.tracking.metrics import checked

Row = dict[str, Any]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a UserError of one line that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space, fix the permission or choose another folder"
        ) from error


class RunFolder:
    """A run's folder, created and locked for this process; use it with `with`.

    is_main=False is another rank of the same run: it reads the same folder, locks nothing and writes nothing.
    Errors: UserError when it cannot be written, or when another process holds it (two runs would mix their lines).
    """

    def __init__(self, path: Path, is_main: bool = True) -> None:
        self.path, self.is_main = path, is_main
        if not is_main:
            return
        with writing(path):
            for folder in (path, path / "completions", path / "probes", path / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = (path / "run.lock").open("a+", encoding="utf-8")
        self._take_lock()

    def _take_lock(self) -> None:
        # flock, not the mere presence of the file: the kernel lets go when a run dies, so no stale lock stops a resume.
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise UserError(
                f"{self.path} is in use by another run (pid and host: {owner}); wait for it or choose another run_name"
            ) from None
        with writing(self.path / "run.lock"):
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._lock.flush()

    def close(self) -> None:
        """Let go of the folder."""
        if self.is_main:
            self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def checkpoints(self) -> Path:
        """Where the trainer saves; every checkpoint has what an exact resume needs."""
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        """Where the trained model is saved."""
        return self.path / "final"

    def write_config(self, config: Config) -> None:
        """config.yaml, readable by config.check_config."""
        self._replace("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True))

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """manifest.json, whole, at the start and again at the end of the run."""
        self._replace("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")

    def append_train(self, step: int, metrics: Mapping[str, float | int | None]) -> None:
        """One line of train.jsonl. Errors: ValueError for a name that the registry does not hold."""
        self._append("train.jsonl", {"step": step, **checked(metrics)})

    def write_completions(self, step: int, rows: Iterable[Row]) -> None:
        """completions/step_<step>.jsonl, whole: a step that is done again replaces its file."""
        if not self.is_main:
            return
        write_jsonl(self.path / "completions" / f"step_{step:06d}.jsonl", map(_without_nan, rows))

    def write_probe(self, name: str, step: int, rows: Iterable[Row], summary: Mapping[str, float | int | None]) -> None:
        """probes/<name>.jsonl whole, its summary as a line of probes.jsonl; name is before, after or step_000020."""
        if not self.is_main:
            return
        write_jsonl(self.path / "probes" / f"{name}.jsonl", map(_without_nan, rows))
        self._append("probes.jsonl", {"step": step, "name": name, **checked(summary)})

    def append_tripwire(self, row: Row) -> None:
        """One line of tripwires.jsonl: what tripped, at which step or probe."""
        self._append("tripwires.jsonl", row)

    def truncate_after(self, step: int) -> None:
        """Drop what was written after this step (0: keep only the probe before training), and the probe after training.

        A run resumes from a checkpoint that may be older than its last line; what it writes again must not stand twice.
        Errors: UserError for a line that is not JSON and is not the torn last one.
        """
        if not self.is_main:
            return
        for name in ("train.jsonl", "probes.jsonl", "tripwires.jsonl"):
            path = self.path / name
            if path.is_file():
                write_jsonl(path, [row for row in _rows(path) if row["step"] <= step and row.get("name") != "after"])
        for path in [*(self.path / "completions").glob("*.jsonl"), *(self.path / "probes").glob("*.jsonl")]:
            if path.stem == "after" or (path.stem.startswith("step_") and int(path.stem[5:]) > step):
                with writing(path):
                    path.unlink()

    def _append(self, name: str, row: Row) -> None:
        if not self.is_main:
            return
        path = self.path / name
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, name: str, text: str) -> None:
        if not self.is_main:
            return
        path = self.path / name
        temporary = path.with_name(name + ".tmp")
        with writing(path):
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)


def _without_nan(row: Row) -> Row:
    """An unscored reward is null on disk: NaN is no JSON and could be read back as a number."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _rows(path: Path) -> list[Row]:
    """Rows of a file that a killed run may have left with a torn last line, which is dropped."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise UserError(f"{path}, row {number}: not JSON ({error.msg}); mend or delete that line") from error
    return rows
