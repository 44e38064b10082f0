"""The cells of a table: the paper's number, ours, their difference, or the state of a cell without one. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cada_trl.errors import UserError
from cada_trl.report.paper import paper_tables
from cada_trl.storage.json_record import JsonRecord
from cada_trl.tables.job import Job
from cada_trl.tables.layout import Measure
from cada_trl.tables.numbers import Number, answered, evaluated
from cada_trl.tables.plan import Block, TablePlan

State = Literal["done", "to do", "failed", "not run", "withheld", "no access", "no prompts", "no data"]


class PaperNumber(JsonRecord):
    """As published, in percent. model: whose number it is; sd over the paper's three runs, where it gives one."""

    model: str
    value: float
    sd: float | None


class Difference(JsonRecord):
    """Ours less the paper's, in points. low, high: our 95 % interval less the paper's number, whose own spread is left
    out: the paper gives no interval."""

    value: float
    low: float
    high: float


class TableCell(JsonRecord):
    """One number of the table. ours is there exactly where state is done; else reason says what is the matter."""

    row: str
    method: str
    column: str
    attack: str
    measure: Measure
    paper: PaperNumber | None
    ours: Number | None
    difference: Difference | None
    state: State
    reason: str | None


def table_cells(plan: TablePlan, failed: Mapping[Job, str]) -> list[TableCell]:
    """Every cell in the table's order. failed: job -> how it failed in this call."""
    return [cell for block in plan.blocks for cell in _block(plan, block, failed)]


def paper_number(table: int, model: str, method: str, column: str, attack: str, measure: Measure) -> PaperNumber | None:
    """The published number of that very table; None where it has none."""
    wanted = (table, model, method, column, measure)
    for row in paper_tables().rows:
        if (row.table, row.model, row.method, row.benchmark, row.measure) == wanted and attack in row.values:
            value, *sd = row.values[attack]
            return PaperNumber(model=paper_tables().models[model].name, value=value, sd=sd[0] if sd else None)
    return None


def _block(plan: TablePlan, block: Block, failed: Mapping[Job, str]) -> Iterator[TableCell]:
    state, reason = _state(block, failed)
    folders = [folder for job in block.jobs if (folder := job.result()) is not None] if state == "done" else []
    for attack in block.column.attacks:
        for measure in block.column.measures:
            where = (block.row.method, block.column.name, attack, measure)
            paper = paper_number(plan.settings.table, plan.model.paper, *where)
            cell = TableCell(
                row=block.row.id,
                method=block.row.method,
                column=block.column.name,
                attack=attack,
                measure=measure,
                paper=paper,
                ours=None,
                difference=None,
                state=state,
                reason=reason,
            )
            if attack in block.lacking:
                word, why = block.lacking[attack]
                yield cell.model_copy(update={"state": word, "reason": why})
            elif state == "done":
                yield _filled(cell, lambda a=attack, m=measure: _number(block, folders, a, m))  # type: ignore[misc]
            else:
                yield cell


def _number(block: Block, folders: Sequence[Path], attack: str, measure: Measure) -> Number:
    if block.column.task is not None:
        return answered(folders)
    return evaluated(folders, block.column.name, attack, measure)


def _filled(cell: TableCell, number: Callable[[], Number]) -> TableCell:
    try:
        ours = number()
    except UserError as error:  # a damaged file of one folder leaves the other cells
        return cell.model_copy(update={"state": "failed", "reason": str(error)})
    if ours.value is None or ours.low is None or ours.high is None:
        return cell.model_copy(update={"state": "withheld", "reason": ours.reason})
    difference = None
    if cell.paper is not None:
        value, low, high = (100 * end - cell.paper.value for end in (ours.value, ours.low, ours.high))
        difference = Difference(value=value, low=low, high=high)
    return cell.model_copy(update={"ours": ours, "difference": difference})


def _state(block: Block, failed: Mapping[Job, str]) -> tuple[State, str | None]:
    """Of the cells that can be had. One failed seed is a failed cell: a mean over the others is another number."""
    for job in block.jobs:
        if job in failed:
            return "failed", f"{job.name}: {failed[job]}"
        if job.trained is not None and job.trained in failed:
            return "not run", f"{job.trained.name} failed"
    open_jobs = [job.name for job in block.jobs if job.result() is None]
    return ("to do", ", ".join(open_jobs)) if open_jobs else ("done", None)
