"""Where each job of a sweep stands now, from its files and the queue: nothing is locked or written. No torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cada_trl.jobs.job import SweepJob
from cada_trl.jobs.queue import queue_states
from cada_trl.storage.log import StoredLog

COLUMNS = ("id", "cell", "state", "in the queue", "step", "last step", "hours", "reason")


def status_rows(path: Path, jobs: Sequence[SweepJob]) -> list[tuple[str, ...]]:
    """A row a job, under COLUMNS. Results are not compared with what was recorded: that is a call of the sweep.

    Errors: UserError for a damaged ledger, and as queue_states where jobs were submitted.
    """
    events: dict[str, list[dict[str, Any]]] = {}
    for event in StoredLog(path / "ledger.jsonl").rows:
        events.setdefault(event["job"], []).append(event)
    last = {name: of_job[-1] for name, of_job in events.items()}
    queued = queue_states() if any(event["state"] == "submitted" for event in last.values()) else {}
    rows: list[tuple[str, ...]] = []
    for job in jobs:
        event, known = last.get(job.id, {}), events.get(job.id, [])
        is_done, state = job.results() is not None, event.get("state", "to do")
        state = "done" if is_done else "to do" if state == "done" else state
        in_queue = queued.get(event.get("queue_id", ""), "gone") if state == "submitted" else ""
        hours = sum(row.get("wall_s") or 0.0 for row in known) / 3600
        reason = "" if is_done else str(event.get("reason") or "")
        rows.append((job.id, job.label, state, in_queue, *_progress(job), f"{hours:.2f}" if hours else "", reason))
    return rows


def _progress(job: SweepJob) -> tuple[str, str]:
    """Its training's last step, and how long ago that was written."""
    if job.run_folder is None or not (file := job.run_folder / "train.jsonl").is_file():
        return "", ""
    rows, minutes = StoredLog(file).rows, (time.time() - file.stat().st_mtime) / 60
    return (str(rows[-1]["step"]), f"{minutes:.0f} min ago") if rows else ("", "")
