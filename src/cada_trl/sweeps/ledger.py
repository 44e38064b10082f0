"""What happened to each job of a sweep: a log that kill -9 leaves whole, and the state that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cada_trl.storage.log import AppendLog
from cada_trl.sweeps.fingerprint import damaged, fingerprint
from cada_trl.sweeps.job import Job, read_manifest
from cada_trl.tracking.manifest import now_utc

State = Literal["to do", "running", "submitted", "done", "failed", "damaged"]


@dataclass(frozen=True)
class Standing:
    """Where a job stands. reason: why it failed, is damaged or must be done again. results: its folders once done.

    wall_s: of all its calls here; None where it was not run here or is not known.
    """

    state: State
    reason: str | None = None
    results: tuple[str, ...] = ()
    wall_s: float | None = None


class Ledger:
    """ledger.jsonl of a sweep folder; the caller holds the folder's lock. Errors: UserError as AppendLog."""

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path)

    def standing(self, job: Job) -> Standing:
        """From the log, checked against the files: what is done stays done only while its files are as they were."""
        event = self._last(job)
        if event is not None and event["state"] == "done" and event["evaluate"] == _words(job):
            return self._of_finished(job, event)
        if event is not None and event["state"] in {"failed", "submitted"}:
            return Standing(event["state"], event.get("reason"), wall_s=self._wall_s(job))
        unfinished = event is None or event["state"] in {"running", "to do"}
        if unfinished and (found := job.results()) is not None:  # elsewhere, or by a cell that outlived its sweep
            return self.done(job, found, None)
        return Standing("to do", event.get("reason") if event else None, wall_s=self._wall_s(job))

    def started(self, job: Job) -> None:
        """The job's process group is there."""
        self._add(job, "running")

    def submitted(self, job: Job, queue_id: str) -> None:
        """It waits or runs in a queue."""
        self._add(job, "submitted", queue_id=queue_id)

    def done(self, job: Job, results: Sequence[Path], wall_s: float | None) -> Standing:
        """It ended well; its files are recorded by content."""
        self._add(job, "done", wall_s=wall_s, results=[str(one) for one in results], files=fingerprint(results))
        return self.standing(job)

    def failed(self, job: Job, reason: str, wall_s: float | None) -> None:
        """It ended badly, and would again: only --retry starts it."""
        self._add(job, "failed", wall_s=wall_s, reason=reason)

    def stopped(self, job: Job, reason: str, wall_s: float | None) -> None:
        """It was stopped from outside: the next call goes on with it."""
        self._add(job, "to do", wall_s=wall_s, reason=reason)

    def queue_id(self, job: Job) -> str | None:
        """The number under which it was last submitted."""
        event = self._last(job)
        return event.get("queue_id") if event else None

    def _add(self, job: Job, state: State, **facts: Any) -> None:
        row = {"utc": now_utc(), "job": job.id, "label": job.label, "state": state, "evaluate": _words(job)}
        self._log.append([row | facts])

    def _last(self, job: Job) -> dict[str, Any] | None:
        return next((row for row in reversed(self._log.rows) if row["job"] == job.id), None)

    def _of_finished(self, job: Job, event: dict[str, Any]) -> Standing:
        results = [Path(one) for one in event["results"]]
        if gone := [str(one) for one in results if not one.exists()]:
            return Standing("to do", f"{gone[0]} is gone: done again", wall_s=None)
        if found := damaged(event["files"]):
            return Standing("damaged", "; ".join(found), tuple(event["results"]), self._wall_s(job))
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
    return None if job.evaluate is None else list(job.evaluate)
