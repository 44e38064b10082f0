"""What happened to each job of a sweep: a log that kill -9 leaves whole, and the state that follows from it.

A finished job's files are recorded by content, so that one that was damaged later is found and not compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cada_trl.jobs.job import Job, read_manifest
from cada_trl.storage.digest import file_sha256, sha256
from cada_trl.storage.log import AppendLog
from cada_trl.tracking.manifest import now_utc

State = Literal["to do", "running", "submitted", "done", "failed", "damaged"]

# What the verbs write once. Reports, logs and judges' further verdicts may be written anew and are left out.
_OF_RUN = ("config.yaml", "manifest.json", "train.jsonl", "probes.jsonl", "probes/*.jsonl", "final/*")
_OF_EVALUATION = ("attempts.jsonl", "responses.jsonl", "scores.json")
_WHOLE_BYTES = 2**26  # ours: larger files, which are weights, by their size and their two ends, within a moment
_END_BYTES = 2**20


@dataclass(frozen=True)
class Standing:
    """Where a job stands. reason: why it failed, is damaged or must be done again. results: its folders once done.

    wall_s: of all its calls here; None where it was not run here or is not known.
    """

    state: State
    reason: str | None = None
    results: tuple[str, ...] = ()
    wall_s: float | None = None


Board = dict[str, Standing]  # job id -> where it stands


class Ledger:
    """ledger.jsonl of a sweep folder; the caller holds the folder's lock. Errors: UserError as AppendLog."""

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path)

    def standing(self, job: Job) -> Standing:
        """From the log, checked against the files: what is done stays done only while its files are as they were."""
        event = self._last(job) or {"state": "to do"}
        if event["state"] == "done" and event["evaluate"] == _words(job):
            return self._of_finished(job, event)
        if event["state"] in {"failed", "submitted"}:
            return Standing(event["state"], event.get("reason"), wall_s=self._wall_s(job))
        unfinished = event["state"] in {"running", "to do"}
        if unfinished and (results := job.results()) is not None:  # elsewhere, or by a cell that outlived its sweep
            return self.done(job, results, None)
        return Standing("to do", event.get("reason"), wall_s=self._wall_s(job))

    def started(self, job: Job) -> None:
        """The job's process group is there."""
        self._add(job, "running")

    def submitted(self, job: Job, queue_id: str) -> None:
        """It waits or runs in a queue."""
        self._add(job, "submitted", queue_id=queue_id)

    def done(self, job: Job, results: Sequence[Path], wall_s: float | None) -> Standing:
        """It ended well."""
        return self._add(job, "done", wall_s=wall_s, results=[*map(str, results)], files=fingerprint(results))

    def failed(self, job: Job, reason: str, wall_s: float | None) -> Standing:
        """It ended badly, and would again: only --retry starts it."""
        return self._add(job, "failed", wall_s=wall_s, reason=reason)

    def stopped(self, job: Job, reason: str, wall_s: float | None) -> Standing:
        """It was stopped from outside: the next call goes on with it."""
        return self._add(job, "to do", wall_s=wall_s, reason=reason)

    def queue_id(self, job: Job) -> str | None:
        """The number under which it was last submitted."""
        event = self._last(job)
        return event.get("queue_id") if event else None

    def _add(self, job: Job, state: State, **facts: Any) -> Standing:
        row = {"utc": now_utc(), "job": job.id, "label": job.label, "state": state, "evaluate": _words(job)}
        self._log.append([row | facts])
        return self.standing(job)

    def _last(self, job: Job) -> dict[str, Any] | None:
        return next((row for row in reversed(self._log.rows) if row["job"] == job.id), None)

    def _of_finished(self, job: Job, event: dict[str, Any]) -> Standing:
        if gone := [name for name in event["results"] if not Path(name).exists()]:
            return Standing("to do", f"{gone[0]} is gone: done again")
        if faults := damaged(event["files"]):
            return Standing("damaged", "; ".join(faults), tuple(event["results"]), self._wall_s(job))
        return Standing("done", None, tuple(event["results"]), self._wall_s(job))

    def _wall_s(self, job: Job) -> float | None:
        """Wall time of all its calls; of a run that was not made here what its own manifest says."""
        rows = [row for row in self._log.rows if row["job"] == job.id]
        known = [row["wall_s"] for row in rows if row.get("wall_s") is not None]
        if known:
            return round(sum(known), 1)
        recorded = read_manifest(job.run_folder).get("wall_s") if rows and job.run_folder else None
        return float(recorded) if recorded is not None else None


def _words(job: Job) -> list[str] | None:
    return None if job.evaluation is None else list(job.evaluation)


def fingerprint(folders: Iterable[Path]) -> dict[str, str]:
    """File -> SHA-256, for the result files of runs and evaluations."""
    files = []
    for folder in folders:
        patterns = _OF_EVALUATION if (folder / "responses.jsonl").is_file() else _OF_RUN
        files += [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    return {str(path): _digest(path) for path in sorted(files)}


def damaged(recorded: Mapping[str, str]) -> list[str]:
    """What is no longer as recorded: `<file> is missing` or `<file> has changed`."""
    states = {
        name: "is missing" if not Path(name).is_file() else "has changed" if _digest(Path(name)) != digest else ""
        for name, digest in recorded.items()
    }
    return [f"{name} {state}" for name, state in states.items() if state]


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return file_sha256(path)
    with path.open("rb") as file:
        start = file.read(_END_BYTES)
        file.seek(-_END_BYTES, os.SEEK_END)
        return sha256(f"{size} bytes".encode() + start + file.read())
