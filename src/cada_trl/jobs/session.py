"""One call of a sweep: its cells, where each stands, and sweep.json and sweep.md as they change. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cada_trl.jobs.folder import SweepFolder
from cada_trl.jobs.grid import Cell
from cada_trl.jobs.job import SweepJob
from cada_trl.jobs.ledger import Board, Ledger, Standing
from cada_trl.jobs.places import places
from cada_trl.jobs.queue import collect, submit
from cada_trl.jobs.request import SweepRequest
from cada_trl.jobs.runner import Runner
from cada_trl.jobs.sweep_record import Planned, sweep_page, sweep_record
from cada_trl.storage.files import GOES_ON, replace, replace_json


def planned(cells: Sequence[Cell], request: SweepRequest) -> Planned:
    """Cell id -> the cell, its job, and the evaluation of the model that it starts from."""
    words = request.evaluates_with
    return {cell.id: (cell, cell.job(words), cell.initial_job(words)) for cell in cells}


def jobs_of(plan: Planned) -> list[SweepJob]:
    """Every job once, the initial models' first: they are what all cells are compared with."""
    initial = {job.id: job for _, _, job in plan.values() if job is not None}
    return [*initial.values(), *(job for _, job, _ in plan.values())]


class Session:
    """Runs cells in a folder that this process holds. Errors: UserError as the parts; Ctrl-C stops what runs."""

    def __init__(self, folder: SweepFolder, request: SweepRequest, command: Sequence[str]) -> None:
        self.folder, self.request, self._command = folder, request, command
        self._ledger = Ledger(folder.path / "ledger.jsonl")
        self._plan: Planned = {}
        self._board: Board = {}
        self.search: dict[str, Any] | None = None
        self.record: dict[str, Any] = {}

    def run(self, cells: Sequence[Cell]) -> None:
        """Run or submit what is to do of these cells, beside what earlier calls of this method brought."""
        plan, config = planned(cells, self.request), self.request.config
        self._plan |= plan
        jobs = jobs_of(plan)
        self._board |= {job.id: self._ledger.standing(job) for job in jobs}
        collect(self.folder, self._ledger, jobs, self._board)
        if self.request.retry:
            self._board |= {job.id: Standing("to do") for job in jobs if self._board[job.id].state == "failed"}
        self.write()
        self._tell_known(jobs)
        to_do = [job for job in jobs if self._board[job.id].state == "to do"]
        if config.submit != "here" and to_do:
            submit(self.folder, self._ledger, to_do, config)
            self._board |= {job.id: self._ledger.standing(job) for job in to_do}
        elif to_do:
            side_by_side = places(config.jobs, [job.config for job in to_do])
            limit_s, env = config.cell_limit_h * 3600, {"WANDB_RUN_GROUP": self.folder.path.name}
            Runner(self.folder, self._ledger, side_by_side, limit_s, env, self._board, self.write).run(to_do)
        self.write()

    def _tell_known(self, jobs: Sequence[SweepJob]) -> None:
        for job in jobs:
            standing = self._board[job.id]
            advice = {
                "failed": f"; --retry starts it again, its log: {self.folder.log(job.id)}",
                "damaged": "; its numbers are not compared: restore the file, or move its folder away to do it again",
            }.get(standing.state, "")
            if standing.state != "to do" or standing.reason:
                reason = f", {standing.reason}" if standing.reason else ""
                print(f"{job.label}: {standing.state}{reason}{advice}")

    def write(self) -> None:
        """sweep.json and sweep.md, as things stand."""
        record = sweep_record(self.folder, self._command, self.request.card, self._plan, self._board)
        self.record = record | {"search": self.search}
        replace_json(self.folder.path / "sweep.json", self.record, GOES_ON)
        replace(self.folder.path / "sweep.md", sweep_page(self.record), GOES_ON)
