"""One call of a sweep: its cells, where each stands, and sweep.json and sweep.md as they change. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cada_trl.sweeps.ablation import AblationCard
from cada_trl.sweeps.grid import Cell
from cada_trl.sweeps.job import Job, cell_job, initial_job
from cada_trl.sweeps.ledger import Ledger, Standing
from cada_trl.sweeps.places import places
from cada_trl.sweeps.runner import Board, Runner
from cada_trl.sweeps.settings import SweepRequest
from cada_trl.sweeps.slurm import collect, submit
from cada_trl.sweeps.sweep_folder import SweepFolder
from cada_trl.sweeps.sweep_record import sweep_page, sweep_record

Planned = dict[str, tuple[Cell, Job, Job | None]]


def planned(cells: Sequence[Cell], request: SweepRequest) -> Planned:
    """Cell id -> the cell, its job, and the evaluation of the model that it starts from."""
    jobs = [cell_job(cell, request.evaluates_with) for cell in cells]
    return {cell.id: (cell, job, initial_job(job)) for cell, job in zip(cells, jobs, strict=True)}


def jobs_of(plan: Planned) -> list[Job]:
    """Every job once, the initial models' first: they are what all cells are compared with."""
    initial = {job.id: job for _, _, job in plan.values() if job is not None}
    return [*initial.values(), *(job for _, job, _ in plan.values())]


class Session:
    """Runs cells in a folder that this process holds. Errors: UserError as the parts; Ctrl-C stops what runs."""

    def __init__(
        self,
        folder: SweepFolder,
        request: SweepRequest,
        command: Sequence[str],
        card: tuple[str, AblationCard] | None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self._request, self._command, self._card, self._say = folder, request, command, card, say
        self._ledger = Ledger(folder.path / "ledger.jsonl")
        self._plan: Planned = {}
        self._board: Board = {}
        self.search: dict[str, Any] | None = None
        self.record: dict[str, Any] = {}

    def run(self, cells: Sequence[Cell]) -> None:
        """Run or submit what is to do of these cells, beside what earlier calls of this method brought."""
        plan = planned(cells, self._request)
        self._plan |= plan
        jobs = jobs_of(plan)
        self._board |= {job.id: self._ledger.standing(job) for job in jobs}
        collect(self.folder, self._ledger, jobs, self._board)
        if self._request.retry:
            again = {job.id: Standing("to do") for job in jobs if self._board[job.id].state == "failed"}
            self._board |= again
        self.write()
        self._say_known(jobs)
        to_do = [job for job in jobs if self._board[job.id].state == "to do"]
        if self._request.config.submit != "here":
            if to_do:
                submit(self.folder, self._ledger, to_do, self._request.config)
            self._board |= {job.id: self._ledger.standing(job) for job in to_do}
        elif to_do:
            self._run_here(to_do)
        self.write()

    def _run_here(self, jobs: Sequence[Job]) -> None:
        config = self._request.config
        runner = Runner(
            self.folder,
            self._ledger,
            places(config.jobs, [job.config for job in jobs]),
            config.cell_limit_h * 3600,
            {"WANDB_RUN_GROUP": self.folder.path.name},
            self._board,
            self._write,
            self._say,
        )
        runner.run(jobs)

    def _say_known(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            standing = self._board[job.id]
            advice = {
                "failed": f"; --retry starts it again, its log: {self.folder.log(job.id)}",
                "damaged": "; its numbers are not compared: restore the file, or move its folder away to do it again",
            }.get(standing.state, "")
            if standing.state != "to do" or standing.reason:
                reason = f", {standing.reason}" if standing.reason else ""
                self._say(f"{job.label}: {standing.state}{reason}{advice}")

    def write(self) -> None:
        """sweep.json and sweep.md, as things stand."""
        self._write(self._board)

    def _write(self, board: Board) -> None:
        self.record = sweep_record(self.folder, self._command, self._card, self._plan, board) | {"search": self.search}
        self.folder.write_json(self.folder.path / "sweep.json", self.record)
        self.folder.write(self.folder.path / "sweep.md", sweep_page(self.record))
