"""The folder of a sweep or a table: its files, and a log of what happened to each job, which kill -9 leaves whole.

A sweep has sweep.json  sweep.md  cells.csv  ledger.jsonl  cells/<id>.sh  logs/<id>.log  study.db (a search's trials). A
finished job's files are recorded by content, so that one that was damaged later is found and not compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cada_trl.errors import UserError
from cada_trl.evaluation.folder import SCORES
from cada_trl.jobs.job import Job
from cada_trl.report.run_record import if_readable
from cada_trl.storage.digest import change, digests, quick_sha256
from cada_trl.storage.files import held, read_json
from cada_trl.storage.log import AppendLog
from cada_trl.tracking.manifest import now_utc

State = Literal["to do", "running", "submitted", "done", "failed", "stopped", "damaged"]

STUDY = "study.db"  # a search's trials, optuna's own file
# What the verbs write once. Reports, logs and judges' further verdicts may be written anew and are left out.
_OF_RUN = ("config.yaml", "manifest.json", "train.jsonl", "probes.jsonl", "probes/*.jsonl", "final/*")
_OF_EVALUATION = ("attempts.jsonl", "responses.jsonl", "scores.json")


@dataclass(frozen=True)
class JobFolder:
    """Where the files are. kind: what the folder belongs to, for messages and locks."""

    path: Path
    kind: Literal["sweep", "table", "tamper"] = "sweep"

    def log(self, job: Job) -> Path:
        """What the job's processes print, of all its calls."""
        return self.path / "logs" / f"{job.id}.log"

    def script(self, job: Job) -> Path:
        return self.path / "cells" / f"{job.id}.sh"

    def lock(self, job: Job) -> Path:
        """One for all sweeps beside this one, whose jobs are named by content; elsewhere the log is also the lock."""
        return self.path.parent / "locks" / f"{job.id}.lock" if self.kind == "sweep" else self.log(job)


@contextmanager
def opened(path: Path, cell_ids: Collection[str] | None) -> Iterator[JobFolder]:
    """A sweep's folder for this process alone; a grid may grow, and so may a search (cell_ids None). Errors: UserError
    when another process holds it, it is not writable, or it has another sweep's record or a damaged one."""
    busy = f"{path} is in use by another sweep; wait for it or give a sweep_name of your own"
    with held(path / "sweep.lock", busy, "choose another sweeps_dir"):
        rows, words = recorded(path)
        is_same = (path / STUDY).exists() if cell_ids is None else {row["id"] for row in rows} <= set(cell_ids)
        if rows and not is_same:
            raise UserError(
                f"{path} holds another sweep ({words}); give its words or more values, or a sweep_name of your own"
            )
        (path / "logs").mkdir(exist_ok=True)
        yield JobFolder(path)


def recorded(path: Path) -> tuple[list[dict[str, Any]], str]:
    """sweep.json's cells and the words of its call; none before the first. Errors: UserError for a damaged one."""
    file = path / "sweep.json"
    if not file.is_file():
        return [], ""
    try:
        record = read_json(file, "restore it")
        rows = [{"id": str(row["id"]), "overrides": [*row["overrides"]]} for row in record["cells"]]
        return rows, shlex.join(record["command"][3:])
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}); move it away: cells that are done stay done") from error


@dataclass(frozen=True)
class Standing:
    """reason: why it failed, is damaged or is done again. results: its folders once done. wall_s: of all calls here."""

    state: State
    reason: str | None = None
    results: tuple[str, ...] = ()
    wall_s: float | None = None


class Ledger:
    """ledger.jsonl of a sweep folder; the caller holds the folder's lock. Errors: UserError as AppendLog.

    board: job id -> where it stands, of the jobs that were looked at.
    """

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path)
        self.board: dict[str, Standing] = {}

    def look(self, job: Job) -> None:
        """Put where the job stands on the board."""
        self.board[job.id] = self._standing(job)

    def last(self, job: Job) -> dict[str, Any]:
        """The job's last event; {} where it has none."""
        return next((row for row in reversed(self._log.rows) if row["job"] == job.id), {})

    def _standing(self, job: Job) -> Standing:
        """From the log, checked against the files: what is done stays done only while its files are as they were."""
        event = self.last(job)
        state, spent_s = event.get("state", "to do"), wall_s(self._log.rows, job)
        if state == "done" and event["evaluate"] == _words(job):
            return self._once_done(job, event, spent_s)
        # Elsewhere, by hand, or by a cell that outlived its sweep.
        if state != "submitted" and (folders := job.results()) is not None:
            self.add(job, "done", results=folders)
            return self.board[job.id]
        if state in {"failed", "stopped", "submitted"}:
            return Standing(state, event.get("reason"), wall_s=spent_s)
        return Standing("to do", event.get("reason"), wall_s=spent_s)

    def _once_done(self, job: Job, event: Mapping[str, Any], wall_s: float | None) -> Standing:
        results = tuple(event["results"])
        if gone := [name for name in results if not Path(name).exists()]:
            return Standing("to do", f"{gone[0]} is gone: done again", wall_s=wall_s)
        faults, now = damaged(event["files"]), job.results()
        if now is None and {(Path(name).name, seen) for name, seen in faults.items()} == {(SCORES, "has changed")}:
            return Standing("to do", "its answers were judged by other words since: judged again", wall_s=wall_s)
        if faults:
            return Standing("damaged", "; ".join(map(" ".join, faults.items())), results, wall_s)
        if now is None:
            return Standing("to do", "a file that it reads has changed since: done again", wall_s=wall_s)
        if (*map(str, now),) != results:  # of the file as it is now, and made elsewhere
            self.add(job, "done", results=now)
            return self.board[job.id]
        return Standing("done", None, results, wall_s)

    def add(self, job: Job, state: State, reason: str | None = None, wall_s: float | None = None, **facts: Any) -> None:
        """What happened to the job. failed, stopped (by a tripwire): it would end so again, and only --retry starts it.
        to do: it was stopped from outside, and the next call goes on with it. facts: results, its folders once it is
        done; its queue_id."""
        row = {"utc": now_utc(), "job": job.id, "label": job.label, "state": state, "evaluate": _words(job)}
        if not self.last(job):
            facts["begun_s"] = _run_s(job)  # elsewhere, before this sweep's first call
        if "results" in facts:
            facts |= {"results": [*map(str, facts["results"])], "files": fingerprint(facts["results"])}
        self._log.append([{**row, "reason": reason, "wall_s": wall_s, **facts}])
        if state == "running":
            self.board[job.id] = Standing(state)
        else:
            self.look(job)


def wall_s(rows: Sequence[Mapping[str, Any]], job: Job) -> float | None:
    """Wall time of all its calls and of what was begun elsewhere. rows: the ledger's. At least what the run's own
    manifest says: a call that was killed told no time."""
    told_s = sum(row.get(name) or 0.0 for row in rows if row["job"] == job.id for name in ("begun_s", "wall_s"))
    return max(filter(None, (round(told_s, 1), _run_s(job))), default=None)


def _run_s(job: Job) -> float | None:
    wall_s = if_readable(job.run_folder / "manifest.json").get("wall_s") if job.run_folder else None
    return None if wall_s is None else float(wall_s)


def _words(job: Job) -> list[str] | None:
    return None if job.evaluation is None else list(job.evaluation)


def fingerprint(folders: Sequence[Path]) -> dict[str, str]:
    """File -> SHA-256, of what runs and evaluations write once."""
    found: dict[str, str] = {}
    for folder in folders:
        patterns = _OF_EVALUATION if (folder / "responses.jsonl").is_file() else _OF_RUN
        found |= {str(folder / name): digest for name, digest in digests(folder, patterns, quick_sha256).items()}
    return dict(sorted(found.items()))


def damaged(recorded: Mapping[str, str]) -> dict[str, str]:
    """What is no longer as recorded: file -> `is missing` or `has changed`."""
    changes = {name: change(Path(name), digest, quick_sha256) for name, digest in recorded.items()}
    return {name: seen for name, seen in changes.items() if seen}
