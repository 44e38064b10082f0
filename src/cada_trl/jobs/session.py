"""One call of a sweep: its cells, where each stands, and sweep.json, sweep.md and cells.csv as they change. No torch.

docs/sweeps.md has the form of sweep.json; the others show the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import config_hash
from cada_trl.document.render import bullets, heading, line, table
from cada_trl.errors import UserError
from cada_trl.jobs.folder import JobFolder, Ledger, Standing, State
from cada_trl.jobs.grid import Cell, SweepRequest
from cada_trl.jobs.job import Job, SweepJob
from cada_trl.jobs.queue import collect, submit
from cada_trl.jobs.runner import Runner, places
from cada_trl.numbers import ABSENT, RATE
from cada_trl.report.names import measures
from cada_trl.report.records import EvalRecord, read_record
from cada_trl.report.run_record import RunRecord
from cada_trl.storage.files import GOES_ON, replace, replace_json
from cada_trl.tracking.manifest import now_utc
from cada_trl.tracking.metrics import PROBE_SETS

_SHOWN = [
    *("probe/harmful/answered_frac", "probe/harmful/reasoned_refusal_frac", "probe/harmless/answered_frac"),
    *("asr", "nrr"),
]
Row = dict[str, Any]


class Session:
    """Runs cells in a folder that this process holds. Errors: UserError as the parts; Ctrl-C stops what runs."""

    def __init__(self, folder: JobFolder, request: SweepRequest, command: Sequence[str]) -> None:
        self.folder, self.request, self._command = folder, request, command
        self._ledger = Ledger(folder.path / "ledger.jsonl")
        self._board = self._ledger.board
        self._cells: dict[str, Cell] = {}
        self.search: dict[str, Any] | None = None
        self.record: dict[str, Any] = {}

    def run(self, cells: Sequence[Cell]) -> None:
        """Run or submit what is to do of these cells, beside what earlier calls of this method brought."""
        config = self.request.config
        self._cells |= {cell.id: cell for cell in cells}
        jobs = jobs_of(cells)
        for job in jobs:
            self._ledger.look(job)
        collect(self.folder, self._ledger, [job for job in jobs if self._state(job) == "submitted"])
        for job in jobs if self.request.flag == "--retry" else ():
            if self._state(job) in {"failed", "stopped"}:
                self._board[job.id] = Standing("to do", wall_s=self._board[job.id].wall_s)
        self.write()
        self._tell_known(jobs)
        to_do = [job for job in jobs if self._state(job) == "to do"]
        limit_s, left_s = config.cell_limit_h * 3600, self._left_s()
        if config.submit != "here" and to_do:
            self._submit(to_do, left_s)
        elif to_do:
            side_by_side = places(config.jobs, [job.config for job in to_do])
            env = {"WANDB_RUN_GROUP": self.folder.path.name}
            Runner(self.folder, print, self._changed, side_by_side, limit_s, env, left_s).run(to_do)
        self.write()

    @property
    def is_spent(self) -> bool:
        return self._left_s() <= 0.0

    def _left_s(self) -> float:
        """Seconds that max_hours leaves; what is in the queue counts with its limit, beside what it had before."""
        config, spent_s = self.request.config, 0.0
        for job in jobs_of(self._cells.values()):
            limit_s = config.cell_limit_h * 3600 if self._state(job) == "submitted" else 0.0
            spent_s += ((self._board[job.id].wall_s or 0.0) + limit_s) * job.n_machines
        return float("inf") if config.max_hours is None else config.max_hours * 3600 - spent_s

    def _submit(self, jobs: Sequence[SweepJob], left_s: float) -> None:
        """The first jobs whose limits max_hours leaves room for."""
        limit_s, fitting = self.request.config.cell_limit_h * 3600, list[SweepJob]()
        for job in jobs:
            left_s -= limit_s * job.n_machines
            if left_s >= 0:
                fitting.append(job)
            else:
                reason = "max_hours leaves no room for its limit: a larger one goes on"
                self._changed(job, "to do", reason)
                print(f"{job.label}: {reason}")
        if fitting:
            submit(self.folder, self._ledger, fitting, self.request.config)

    def _state(self, job: Job) -> State:
        return self._board[job.id].state

    def _changed(self, job: Job, state: State, *about: Any, **facts: Any) -> None:
        self._ledger.add(job, state, *about, **facts)
        self.write()

    def _tell_known(self, jobs: Sequence[SweepJob]) -> None:
        for job in jobs:
            standing = self._board[job.id]
            advice = {
                **dict.fromkeys(("failed", "stopped"), f"; --retry starts it again, its log: {self.folder.log(job)}"),
                "damaged": "; its numbers are not compared: restore the file, or move its folder away to do it again",
            }.get(standing.state, "")
            if standing.state != "to do" or standing.reason:
                reason = f", {standing.reason}" if standing.reason else ""
                print(f"{job.label}: {standing.state}{reason}{advice}")

    def write(self) -> None:
        cells, card = list(self._cells.values()), self.request.card
        initial = {first.id: first for cell in cells if (first := cell.initial) is not None}
        self.record = {
            "format": 1,
            "name": self.folder.path.name,
            "written_utc": now_utc(),
            "command": list(self._command),
            "ablation": card.model_dump() if card else None,
            "axes": _axes(cells),
            "initial": [
                {"id": name, "model": first.config.model.name, **self._standing(first)}
                for name, first in initial.items()
            ],
            "cells": [
                {
                    "id": cell.id,
                    "config_hash": config_hash(cell.config),
                    "model": cell.config.model.name,
                    "axes": cell.axes,
                    "seed": cell.config.seed,
                    "overrides": list(cell.words),
                    "run_folder": str(cell.run_folder),
                    "initial": cell.initial.id if cell.initial else None,
                    **self._standing(cell),
                }
                for cell in cells
            ],
            "search": self.search,
        }
        replace_json(self.folder.path / "sweep.json", self.record, GOES_ON)
        replace(self.folder.path / "sweep.md", sweep_page(self.record), GOES_ON)
        replace(self.folder.path / "cells.csv", cells_csv(self.record), GOES_ON)

    def _standing(self, job: SweepJob) -> Row:
        """State, folders and numbers; only what is done has numbers."""
        standing = self._board[job.id]
        state, reason, metrics = standing.state, standing.reason, {}
        if state == "done":
            try:
                metrics = metrics_of(standing.results)
            except UserError as error:
                state, reason = "damaged", str(error)
        return {
            "state": state,
            "reason": reason,
            "evaluations": [path for path in standing.results if Path(path) != job.run_folder],
            "wall_s": standing.wall_s,
            "log": str(self.folder.log(job)),
            "metrics": metrics,
        }


def jobs_of(cells: Collection[Cell]) -> list[SweepJob]:
    """Every job once, the initial models' first: they are what all cells are compared with."""
    initial = [cell.initial for cell in cells if cell.initial is not None]
    return list({job.id: job for job in [*initial, *cells]}.values())


def _axes(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """Axis -> its values in the cells' order, the seed last."""
    axes: dict[str, list[Any]] = {}
    for cell in cells:
        for key, value in [*cell.axes.items(), ("seed", cell.config.seed)]:
            if value not in axes.setdefault(key, []):
                axes[key].append(value)
    seeds = axes.pop("seed", [])
    return axes | {"seed": seeds}


def metrics_of(results: Iterable[str]) -> dict[str, Row]:
    """Name -> {"n", "asked", "value", "low", "high"}; value, low and high are None where nothing is known.

    probe/<set>/<measure>: after the training, given raw. asr/<benchmark>/<attack> and nrr/...: of the evaluation.
    Errors: UserError as read_record, for a file that is damaged.
    """
    from cada_trl.report.summary import rate_of  # with numpy, which a sweep's first line does not wait for

    metrics: dict[str, Row] = {}
    for path in results:
        record = read_record(Path(path))
        if isinstance(record, RunRecord):
            for name in PROBE_SETS:
                rows = [row for row in record.after if row.set == name]
                for measure in measures(name) if rows else ():
                    rate = rate_of(rows, measure)
                    counts = {"n": rate["n"], "asked": len(rows), "value": rate["rate"]}
                    metrics[f"probe/{name}/{measure}"] = counts | {end: rate[end] for end in ("low", "high")}
        elif isinstance(record, EvalRecord):
            for cell in record.scores.cells:
                measured = cell.headline.model_dump(include={"n", "asked", "value", "low", "high"})
                metrics[f"{cell.metric}/{cell.benchmark}/{cell.attack}"] = measured
    return metrics


def sweep_page(record: Row) -> str:
    """The record as Markdown: a row per cell, its rates with n and 95 % intervals."""
    card, all_rows = record["ablation"], [*record["initial"], *record["cells"]]
    # The card's metrics or the usual ones, those that a row has; asr and nrr stand for each benchmark and attack.
    known = dict.fromkeys(name for row in all_rows for name in row["metrics"])
    wanted = card["metrics"] if card else _SHOWN
    metrics = [name for one in wanted for name in known if name == one or (name.split("/")[0] == one != "probe")]
    axes = [axis for axis in record["axes"] if axis != "seed"]
    rows = []
    for row in all_rows:
        minutes = ABSENT if row["wall_s"] is None else f"{row['wall_s'] / 60:.1f}"
        values = [row.get("axes", {}).get(axis, "") for axis in axes]
        rates = [_measured(row["metrics"].get(name)) for name in metrics]
        rows.append([row["id"], *values, row.get("seed", ""), row["state"], minutes, *rates])
    parts = [
        heading(1, f"Sweep {record['name']}"),
        *(line(f"{word}: {card[word.lower()]}") for word in ("Question", "Expected", "Paper") if card),
        "Rates: value, n, Wilson 95 % interval. Probes: held-out requests given raw, after the training.",
        table(["id", *axes, "seed", "state", "min", *metrics], rows),
    ]
    if reasons := [f"{row['id']}: {row['reason']}" for row in all_rows if row["reason"]]:
        parts.append(bullets(reasons))
    return "\n\n".join(parts) + "\n"


def _measured(measure: Row | None) -> str:
    if measure is None or measure["value"] is None:
        return "" if measure is None else str(ABSENT)
    return str(RATE.cell(measure["value"], None, None, f"n {measure['n']}", RATE.span(measure["low"], measure["high"])))


def cells_csv(record: Row) -> str:
    """A row for each metric of each cell, for pandas, R or a spreadsheet; without numbers one whose metric is empty."""
    axes = [axis for axis in record["axes"] if axis != "seed"]
    measured = ("metric", "n", "asked", "value", "low", "high")
    columns = dict.fromkeys(("id", "model", *axes, "seed", "state", "wall_s", *measured))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for row in [*record["initial"], *record["cells"]]:
        for name, measure in (row["metrics"] or {"": {}}).items():
            table.writerow({**row, **row.get("axes", {}), "metric": name, **measure})
    return text.getvalue()
