"""table: one of the paper's tables, run or reused cell by cell, ours beside the published numbers.

    python -m cada_trl.table table=3 model=smollm2 data_root=<folder>
    python -m cada_trl.table table=3 model=llama3 --dry-run         (the jobs, done or to do, and what they may cost)
    ... rows=none,cada columns=strongreject seeds=0 limit=2 train=max_steps=1

Its jobs are calls of train, evaluate and utility, whose folders are named by content: what is done is not done again,
whichever table or call did it, and the same command goes on after an interruption. Exit code 1: a cell failed.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from cada_trl.console import table_console
from cada_trl.errors import run_verb
from cada_trl.storage.files import replace, replace_json
from cada_trl.tables.cells import TableCell, table_cells
from cada_trl.tables.estimate import Estimate, estimate
from cada_trl.tables.plan import TablePlan, plan_table
from cada_trl.tables.runner import run_jobs
from cada_trl.tables.settings import load_table_settings
from cada_trl.tables.show import as_json, markdown, notes, text_table, title


def main(argv: list[str]) -> int:
    """The verb. Returns 1 where a job failed in this call, else 0. Errors: UserError before any job has started."""
    plan = plan_table(load_table_settings([word for word in argv if word != "--dry-run"]))
    if "--dry-run" in argv:
        _show_plan(plan)
        return 0
    folder = plan.settings.folder
    failed = run_jobs(plan.jobs, folder / "logs", lambda line: print(line, file=sys.stderr, flush=True))
    cells = table_cells(plan, failed)
    replace_json(folder / "table.json", as_json(plan, cells))
    replace(folder / "table.md", markdown(plan, cells))
    _show(plan, cells)
    print(folder / "table.md")
    return 1 if failed else 0


def _show(plan: TablePlan, cells: Sequence[TableCell]) -> None:
    console = table_console()
    console.print(text_table(plan, cells))
    for line in notes(plan, cells):
        console.print(f"- {line}", highlight=False, soft_wrap=True, markup=False)


def _show_plan(plan: TablePlan) -> None:
    print(title(plan))
    total = Estimate()
    for job in plan.jobs:
        done = job.result()
        cost = Estimate() if done else estimate(job, plan)
        total += cost
        print(f"{f'done {done}' if done else f'to do, {_cost(cost)}'}: {job.name}\n  {shlex.join(job.command[1:])}")
    lacking = [(block.column.name, *one) for block in plan.blocks for one in block.lacking.values()]
    for column, word, reason in dict.fromkeys(lacking):
        print(f"{word}, {column}: {reason}")
    print(f"machine: {plan.model.machine}\nto do: {_cost(total)}; ESTIMATED, from recipes/tables/models.yaml")
    print(f"folder: {plan.settings.folder}")


def _cost(cost: Estimate) -> str:
    judge = f", {cost.judge_calls} judge calls (about ${cost.judge_usd:.2f})" if cost.judge_calls else ""
    gpu = f", {cost.gpu_hours:.2f} GPU h" if cost.gpu_hours else ""
    return f"about {cost.hours:.2f} h{gpu}{judge}"


if __name__ == "__main__":
    run_verb(main)
