"""The cells of a table: the paper's number, ours, their difference, or the state of a cell without one. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cada_trl.errors import UserError
from cada_trl.evaluation.compare import Answers, answers_of, by_item
from cada_trl.evaluation.scores import withheld
from cada_trl.evaluation.utility.results import RESULT, right_answers
from cada_trl.jobs.table_plan import Block, TablePlan
from cada_trl.report.paper import Measure, paper_tables
from cada_trl.report.records import read_evaluation
from cada_trl.statistics.seeds import across_seeds
from cada_trl.storage.files import JsonRecord, read_json

State = Literal["done", "to do", "failed", "not run", "withheld", "no access", "no prompts", "no data"]
_MEASURED = {"value", "low", "high", "n", "asked"}


class PaperNumber(JsonRecord):
    """As published, in percent. model: whose number it is; sd: over the paper's three runs, where it gives one."""

    model: str
    value: float
    sd: float | None


class Number(JsonRecord):
    """A fraction over n items of the asked, its mean over the seeds; sd is theirs, None below two seeds.

    low, high: 95 %; one seed has the interval of its own report, several that of statistics.across_seeds. All are None
    exactly where `reason` says why.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    asked: int
    n_seeds: int = 1
    sd: float | None = None
    reason: str | None = None


class Difference(JsonRecord):
    """Ours less the paper's, in points. low, high: our 95 % interval less the paper's number, whose own spread is left
    out: the paper gives no interval."""

    value: float
    low: float
    high: float


class TableCell(JsonRecord):
    """One number of the table. ours is known exactly where state is done; else reason says what is the matter."""

    row: str
    method: str
    column: str
    attack: str
    measure: Measure
    paper: PaperNumber | None
    ours: Number | None = None
    difference: Difference | None = None
    state: State
    reason: str | None


def table_cells(plan: TablePlan, failed: Mapping[str, str]) -> list[TableCell]:
    """Every cell in the table's order. failed: job id -> how it failed in this call."""
    return [cell for block in plan.blocks for cell in _block(plan, block, failed)]


def paper_number(table: int, model: str, method: str, column: str, attack: str, measure: Measure) -> PaperNumber | None:
    wanted = (table, model, method, column, measure)
    for row in paper_tables().rows:
        if (row.table, row.model, row.method, row.benchmark, row.measure) == wanted and attack in row.values:
            value, *sd = row.values[attack]
            return PaperNumber(model=paper_tables().models[model].name, value=value, sd=sd[0] if sd else None)
    return None


def evaluated(folders: Sequence[Path], benchmark: str, attack: str, measure: Measure) -> Number:
    """asr, nrr or harmful_score of one benchmark under one attack. Errors: UserError as read_evaluation, and for seeds
    that were judged by different judges."""
    first, *others = records = [read_evaluation(folder) for folder in folders]
    if len(judges := {record.scores.judge_id for record in records}) > 1:
        raise UserError(f"its seeds were judged by different judges ({', '.join(sorted(judges))}); judge all by one")
    if others:
        name = "harmful_score" if measure == "harmful_score" else "complied"
        answers = answers_of(benchmark, [attack], name, [record.evaluated for record in records])
        return _over_seeds(answers, first.scores.min_coverage)
    if (cell := first.scores.cell(benchmark, attack)) is None:
        return Number(n=0, asked=0, reason="not in the evaluation's scores")
    measured = cell.total.harmful_score if measure == "harmful_score" else cell.headline
    return Number(**measured.model_dump(include=_MEASURED), reason=measured.withheld)


def answered(folders: Sequence[Path]) -> Number:
    """The accuracy of one utility task. Errors: UserError for a damaged file."""
    results = [read_json(folder / RESULT) for folder in folders]
    if len(results) == 1:
        return Number(**{key: results[0]["accuracy"][key] for key in _MEASURED})
    filters = [result["plan"]["task"]["filter"] for result in results]
    return _over_seeds([right_answers(*one) for one in zip(folders, filters, strict=True)], 1.0)


def _over_seeds(answers: Sequence[Answers], min_coverage: float) -> Number:
    """The items known in every seed, so that the seeds share them."""
    _, n, values_si = by_item(answers)
    asked, n_seeds = len(answers[0]), len(answers)
    if reason := withheld(n, asked, min_coverage):
        return Number(n=n, asked=asked, n_seeds=n_seeds, reason=reason)
    mean = across_seeds(values_si)
    return Number(value=mean.mean, low=mean.low, high=mean.high, n=n, asked=asked, n_seeds=n_seeds, sd=mean.sd)


def _block(plan: TablePlan, block: Block, failed: Mapping[str, str]) -> Iterator[TableCell]:
    row, column = block.row, block.column
    of_jobs, why = _state(block, failed)
    folders = [folder for job in block.jobs for folder in job.results() or ()] if of_jobs == "done" else []
    for attack in column.attacks:
        state, reason = block.lacking.get(attack, (of_jobs, why))
        for measure in column.measures:
            paper = paper_number(plan.settings.table, plan.model.paper, row.method, column.name, attack, measure)
            where = {"row": row.id, "method": row.method, "column": column.name, "attack": attack, "measure": measure}
            cell = TableCell.model_validate({**where, "paper": paper, "state": state, "reason": reason})
            yield _filled(cell, block, folders) if state == "done" else cell


def _filled(cell: TableCell, block: Block, folders: Sequence[Path]) -> TableCell:
    try:
        if block.column.task is not None:
            ours = answered(folders)
        else:
            ours = evaluated(folders, cell.column, cell.attack, cell.measure)
    except UserError as error:  # a damaged file of one folder leaves the other cells
        return cell.model_copy(update={"state": "failed", "reason": str(error)})
    if ours.value is None or ours.low is None or ours.high is None:
        return cell.model_copy(update={"state": "withheld", "reason": ours.reason})
    difference = None
    if cell.paper is not None:
        value, low, high = (100 * end - cell.paper.value for end in (ours.value, ours.low, ours.high))
        difference = Difference(value=value, low=low, high=high)
    return cell.model_copy(update={"ours": ours, "difference": difference})


def _state(block: Block, failed: Mapping[str, str]) -> tuple[str, str | None]:
    """Of the cells that can be had. One failed seed is a failed cell: a mean over the others is another number."""
    for job in block.jobs:
        if job.id in failed:
            return "failed", f"{job.label}: {failed[job.id]}"
        if job.trained is not None and job.trained.id in failed:
            return "not run", f"{job.trained.label} failed"
    open_jobs = [job.label for job in block.jobs if job.results() is None]
    return ("to do", ", ".join(open_jobs)) if open_jobs else ("done", None)
