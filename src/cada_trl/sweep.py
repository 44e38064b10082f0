"""sweep: a grid of trainings, each evaluated -> a table of cells with intervals, in one folder.

    python -m cada_trl.sweep beta_kl=0.0,0.01,0.1 seed=0,1,2 evaluate=quick jobs=2
    python -m cada_trl.sweep ablation=kl model=smollm2
    ... --dry-run          (the cells, and what they will take)
    ... --retry            (failed cells too)
    ... launcher=slurm     (one job a cell in a queue)

Overrides are those of train; an axis is values with commas, range(0,3) or a group's choices. The same command goes on
after an interruption: what is done is not done again.
"""

from __future__ import annotations

import shlex
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from rich.table import Table

from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb
from cada_trl.sweeps.ablation import AblationCard, load_card
from cada_trl.sweeps.estimate import Estimate, estimate
from cada_trl.sweeps.grid import Cell, make_grid
from cada_trl.sweeps.search import check_installed, read_space, run_search
from cada_trl.sweeps.session import Session, jobs_of, planned
from cada_trl.sweeps.settings import SweepRequest, read_request
from cada_trl.sweeps.slurm import write_scripts
from cada_trl.sweeps.sweep_folder import SweepFolder, sweep_path

Card = tuple[str, AblationCard] | None


def main(argv: list[str]) -> int:
    """The verb. Returns 0 where every cell is done or in the queue, 1 otherwise. Errors: UserError, one line."""
    request = read_request(argv)
    name = request.ablation
    card = (name, load_card(name)) if name else None
    words = [*(card[1].overrides if card else ()), *request.training]
    if request.config.search == "optuna":
        return _search(request, words, argv, card)
    cells = make_grid(words)
    asked = [sorted(cell.id for cell in cells), request.evaluates_with]
    path = sweep_path(request.config, name or "-".join(cells[0].axes) or "seed", asked)
    if request.dry_run:
        return _dry_run(request, cells, path, card)
    with SweepFolder.opened(path) as folder:
        folder.check_same_sweep({cell.id for cell in cells})
        session = Session(folder, request, _command(argv), card)
        return _run(session, lambda: session.run(cells))


def _search(request: SweepRequest, words: Sequence[str], argv: Sequence[str], card: Card) -> int:
    check_installed()
    if request.config.submit != "here":
        raise UserError("search=optuna decides its cells one after the other and runs here: leave launcher=slurm out")
    space = read_space(words, request.config.space)
    path = sweep_path(request.config, "search", [sorted(space.fixed), repr(space.dimensions), request.evaluates_with])
    if request.dry_run:
        dimensions = "\n".join(f"  {key}: {one}" for key, one in space.dimensions.items())
        print(f"{path}\n{request.config.n_trials} trials over\n{dimensions}")
        print(f"with {' '.join(space.fixed) or 'nothing else'}. Nothing was started")
        return 0
    with SweepFolder.opened(path) as folder:
        folder.check_same_sweep(None)
        session = Session(folder, request, _command(argv), card)
        return _run(session, lambda: run_search(session, space, request))


def _run(session: Session, run: Callable[[], None]) -> int:
    """Run and show; SIGTERM counts as Ctrl-C. Returns 0 where every cell is done or in the queue, 1 otherwise."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run()
    except KeyboardInterrupt:
        print(f"stopped; {_counted(session)}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"{_counted(session)}\n{session.folder.path / 'sweep.md'}\n{_report(session.folder.path)}")
    return 0 if {row["state"] for row in _rows(session)} <= {"done", "submitted"} else 1


def _report(folder: Path) -> Path | str:
    """The page of ASR against NRR, or why there is none: the cells are done all the same."""
    from cada_trl.report.page import write_report
    from cada_trl.report.records import read_sweep

    try:
        return write_report([read_sweep(folder)], folder)
    except UserError as error:
        return f"no page: {error}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _rows(session: Session) -> list[dict[str, object]]:
    return [*session.record.get("initial", []), *session.record.get("cells", [])]


def _counted(session: Session) -> str:
    counts = Counter(str(row["state"]) for row in session.record.get("cells", []))
    return f"{counts.total()} cells: " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _command(argv: Sequence[str]) -> list[str]:
    return ["python", "-m", "cada_trl.sweep", *argv]


def _dry_run(request: SweepRequest, cells: Sequence[Cell], path: Path, card: Card) -> int:
    jobs = jobs_of(planned(cells, request))
    to_do = [job for job in jobs if job.results() is None]
    costs = estimate(to_do)
    if card is not None:
        print(f"question: {card[1].question}\nexpected: {card[1].expected}\npaper: {card[1].paper}")
    print(path)
    table = Table("id", "cell", "hours", "memory GB", "judge calls")
    for job in jobs:
        table.add_row(job.id, job.label, *_cost_cells(costs.get(job.id)))
    table_console().print(table)
    print(_total(list(costs.values()), request.config.jobs))
    if request.config.submit != "here" and to_do:
        with SweepFolder.opened(path) as folder:
            for command in write_scripts(folder, to_do, request.config):
                print(shlex.join(command))
    return 0


def _total(costs: Sequence[Estimate], jobs: int) -> str:
    """Hours are of one cell alone on the machine; side by side they share its cores."""
    known = [cost.hours for cost in costs if cost.hours is not None]
    n_unknown = len(costs) - len(known)
    unknown = f" and {n_unknown} of {len(costs)} unknown: no run like it was measured" if n_unknown else ""
    memory = sum(sorted((cost.memory_gb for cost in costs), reverse=True)[:jobs])
    calls = sum(cost.judge_calls for cost in costs)
    return (
        f"in all: {sum(known):.1f} h{unknown}; at least {memory:.1f} GB at a time; at most {calls} judge calls. "
        "Nothing was started"
    )


def _cost_cells(cost: Estimate | None) -> list[str]:
    """Hours, memory and judge calls; None is a job whose results are there."""
    if cost is None:
        return ["done", "", ""]
    hours = "unknown" if cost.hours is None else f"{cost.hours:.2f}"
    return [hours, f"{cost.memory_gb:.1f}", str(cost.judge_calls)]


if __name__ == "__main__":
    run_verb(main)
