"""table: one of the paper's tables, run or reused cell by cell, ours beside the published numbers.

    python -m cada_trl.table table=3 model=smollm2 data_root=<folder>
    python -m cada_trl.table table=3 model=llama3 --dry-run         (a line per method, and what it may cost)
    ... --config           (each job with its command, done or to do; nothing is started either)
    ... rows=none,cada columns=strongreject seeds=0 limit=2 train=max_steps=1

Its jobs are calls of train, evaluate and utility, whose folders are named by content: what is done is not done again,
whichever table or call did it, and the same command goes on after an interruption. Exit code 1: a cell failed.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cada_trl.config.loading import HELP, split_flags
from cada_trl.console import table_console
from cada_trl.document.blocks import Bullets, Document, Section, Table
from cada_trl.document.render import markdown, show
from cada_trl.errors import UserError, run_verb
from cada_trl.jobs.folder import JobFolder
from cada_trl.jobs.runner import Runner
from cada_trl.jobs.table_cells import TableCell, table_cells
from cada_trl.jobs.table_plan import TablePlan, load_table_settings, plan_table
from cada_trl.numbers import ABSENT, RATE
from cada_trl.report.names import attack_name, benchmark_name
from cada_trl.report.paper import MEASURES, paper_tables
from cada_trl.storage.files import replace, replace_json

HEADER = ("method", "asked", "measure", "paper", "ours", "95 %", "ours - paper [95 %]", "n")


def main(argv: list[str]) -> int:
    """The verb. Returns 1 where a job or a cell failed, else 0. Errors: UserError before any job has started."""
    words, flags = split_flags(argv)
    if not HELP.intersection(words):
        print("reading what the table asks", file=sys.stderr, flush=True)  # seconds
    settings = load_table_settings(words)
    plan = plan_table(settings)
    if not plan.jobs:
        raise UserError(f"no cell of {title(plan)} can be asked; {next(_lacking(plan))}")
    if flags:
        _show_plan(plan, jobs_too="--config" in flags)
        return 0
    folder = plan.settings.folder
    runner = Runner(JobFolder(folder, "table"), lambda line: print(line, file=sys.stderr, flush=True))
    runner.run([job for job in plan.jobs if job.results() is None])
    cells = table_cells(plan, runner.failed)
    replace_json(folder / "table.json", as_json(plan, cells))
    page = table_page(plan, cells)
    replace(folder / "table.md", markdown(page))
    show(page, table_console())
    print(folder / "table.md")
    return int(bool(runner.failed) or any(cell.state == "failed" for cell in cells))


def _show_plan(plan: TablePlan, jobs_too: bool) -> None:
    print(title(plan))
    results = {job: job.results() for job in plan.jobs}
    for job, folders in results.items() if jobs_too else ():
        state = f"done {folders[0]}" if folders else f"to do, {plan.cost([job])}"
        print(f"{state}: {job.label}\n  {shlex.join(job.commands[0][1:])}")
    for row in plan.layout.rows:
        jobs = plan.jobs_for(row)
        left = [job for job in jobs if not results[job]]
        calls = ", ".join(f"{n} x {verb}" for verb, n in Counter(job.calls[0].verb for job in jobs).items())
        print(f"{row.method}: {calls}; {len(jobs) - len(left)} done; to do: {plan.cost(left)}")
    for line in dict.fromkeys(_lacking(plan)):
        print(line)
    to_do = plan.cost([job for job, folders in results.items() if not folders])
    print(f"machine: {plan.model.machine}\nto do: {to_do}; ESTIMATED, from recipes/tables/models.yaml")
    print(f"folder: {plan.settings.folder}")


def _lacking(plan: TablePlan) -> Iterator[str]:
    for block in plan.blocks:
        yield from (f"{word}, {block.column.name}: {reason}" for word, reason in block.lacking.values())


def table_page(plan: TablePlan, cells: Sequence[TableCell]) -> Document:
    """For the terminal and table.md."""
    table, read = Table("Cells", HEADER, [_columns(cell) for cell in cells]), Bullets(notes(plan, cells))
    return Document(title(plan), [Section("Cells", [table]), Section("How to read it", [read])])


def as_json(plan: TablePlan, cells: Sequence[TableCell]) -> dict[str, Any]:
    """Fractions of ours, percent of the paper, points of the difference; null where there is none."""
    return {
        "format": 1,
        "table": plan.settings.table,
        "model": plan.settings.model,
        "title": plan.layout.title,
        "settings": plan.settings.model_dump(),
        "cells": [cell.to_json() for cell in cells],
        "notes": notes(plan, cells),
    }


def title(plan: TablePlan) -> str:
    """`Table 3, smollm2: attack success rates after training`."""
    return f"Table {plan.settings.table}, {plan.settings.model}: {plan.layout.title}"


def notes(plan: TablePlan, cells: Sequence[TableCell]) -> list[str]:
    """What stands beside what, and why a cell has no number; one sentence a reason."""
    lines = ["ours - paper leaves the paper's own spread out: it gives no interval"]
    if plan.model.paper != plan.settings.model:
        other = paper_tables().models[plan.model.paper].name
        lines.append(f"the paper has no {plan.settings.model}: {other} stands beside it, another model")
    lines += [f"the paper's {what}: {how}" for what, how in paper_tables().asked_differently.items()]
    if plan.settings.limit is not None:
        lines.append(f"limit={plan.settings.limit} items: a trial of the machinery, no result")
    reasons = {(cell.state, cell.column, cell.reason): None for cell in cells if cell.reason is not None}
    return [*lines, *(f"{state}, {benchmark_name(column)}: {reason}" for state, column, reason in reasons)]


def _columns(cell: TableCell) -> tuple[str, ...]:
    asked = benchmark_name(cell.column)
    if cell.measure in ("asr", "harmful_score"):
        asked += f", {attack_name(cell.attack)}"
    paper = ABSENT.value if cell.paper is None else f"{cell.paper.value:g}"
    if cell.paper is not None and cell.paper.sd is not None:
        paper += f" ± {cell.paper.sd:g}"
    return (cell.method, asked, f"{MEASURES[cell.measure]} %", paper, *_ours(cell))


def _ours(cell: TableCell) -> tuple[str, str, str, str]:
    ours = cell.ours
    if ours is None or ours.value is None or ours.low is None or ours.high is None:
        return cell.state, "", "", ""
    value = RATE.text(ours.value) + ("" if ours.sd is None else f" ± {RATE.text(ours.sd)}")
    seeds = "" if ours.n_seeds == 1 else f" x {ours.n_seeds} seeds"
    change = cell.difference
    points = "" if change is None else f"{change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}]"
    return value, RATE.span(ours.low, ours.high), points, f"{ours.n} of {ours.asked}{seeds}"


if __name__ == "__main__":
    run_verb(main)
