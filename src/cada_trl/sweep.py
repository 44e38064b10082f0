"""sweep: a grid of trainings, each evaluated -> a table of cells with intervals, in one folder.

    python -m cada_trl.sweep beta_kl=0.0,0.01,0.1 seed=0,1,2 evaluate=quick jobs=2
    python -m cada_trl.sweep ablation=kl model=smollm2
    ... --dry-run          (the cells, and what they will take)
    ... --retry            (failed cells too)
    ... --status           (where each cell stands now; nothing is started or written)
    ... launcher=slurm     (one job per cell in a queue)

Overrides are those of train; an axis is values with commas, range(0,3) or a group's choices. The same command goes on
after an interruption: what is done is not done again.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.table import Table

from cada_trl.config.loading import HELP
from cada_trl.console import table_console
from cada_trl.data.benchmark_items import load_items
from cada_trl.doctor import check_inputs, missing
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.plan import sets_of
from cada_trl.jobs.estimate import Cost, sweep_costs
from cada_trl.jobs.folder import opened, recorded
from cada_trl.jobs.grid import Cell, SweepRequest, make_grid, read_request
from cada_trl.jobs.job import asking
from cada_trl.jobs.queue import COLUMNS, given_options, status_rows, write_scripts
from cada_trl.jobs.search import read_space, run_search
from cada_trl.jobs.session import Session, jobs_of
from cada_trl.planning.device import n_machines
from cada_trl.stopping import term_as_ctrl_c
from cada_trl.storage.digest import content_hash
from cada_trl.storage.files import place_of
from cada_trl.visible import visible


def main(argv: list[str]) -> int:
    """The verb. Returns 0 where every cell is done, queued or stopped by a tripwire, else 1. Errors: UserError."""
    if not argv:
        raise UserError("got nothing; expected axes of a training, as in beta_kl=0.0,0.01 seed=0,1, or ablation=NAME")
    if not HELP.intersection(argv):
        print("reading what is asked", file=sys.stderr, flush=True)
    request = read_request(argv)
    if request.config.search == "optuna":
        return _search(request, argv)
    said = visible(" ".join(request.training))
    print(f"reading the configuration of each cell of {said}", file=sys.stderr, flush=True)  # half a second a cell
    cells = make_grid(request.training, request.evaluation, typed=request.typed)
    _check_evaluations(cells)
    content = [sorted(cell.id for cell in cells), request.evaluation]
    about = request.card.name if request.card else "-".join(cells[0].axes) or "seed"
    path = _path(request, about, content)
    if request.flag == "--status":
        return _status(path, cells)
    _check_machines(request, cells)
    if request.flag == "--dry-run":
        return _dry_run(request, cells, path)
    return _run(request, argv, path, {cell.id for cell in cells}, lambda session: session.run(cells))


def _check_evaluations(cells: Sequence[Cell]) -> None:
    """Say how files of one's own are read. Errors: UserError for words that `evaluate` does not take, before anything
    is written or trained."""
    for line in dict.fromkeys(line for words in _evaluations(cells) for line in sets_of(asking(words))[1]):
        print(line)


def _check_machines(request: SweepRequest, cells: Sequence[Cell]) -> None:
    """Errors: UserError where a cell wants several machines and none but this one is there, and as given_options."""
    given_options(request.config)
    machines = max(n_machines(cell.config.hardware) for cell in cells)
    if machines > 1 and request.config.submit == "here":
        is_search = request.config.search == "optuna"
        todo = "search=optuna runs here: choose a hardware of one machine" if is_search else "add launcher=slurm"
        raise UserError(
            f"a cell of this hardware runs on {machines} machines, and this call has one; {todo} (no cell was started)"
        )


def _evaluations(cells: Sequence[Cell]) -> set[tuple[str, ...]]:
    """The words of the cells' evaluations, of the models that they start from."""
    return {words for cell in cells if cell.initial is not None and (words := cell.initial.evaluation) is not None}


def _check_inputs(cells: Sequence[Cell]) -> str:
    """A line on what is missing here for some cell. Errors: UserError for what a cell or evaluation could not read."""
    configs = [cell.config.model_copy(update={"seed": 0}) for cell in cells]
    read = {}  # what check_inputs reads of `algo`, beside everything else
    for config in configs:
        of_algo = config.algo.requests_per_step, config.algo.benign_per_step, config.algo.targets
        read[repr((config.model_copy(update={"algo": None}), of_algo))] = config
    for config in read.values():
        list(check_inputs(config))
    for words in _evaluations(cells):
        evaluation = asking(words)
        for spec, own in sets_of(evaluation)[0] if evaluation.data_root else ():
            if own is None:
                load_items(spec, Path(str(evaluation.data_root)).expanduser(), evaluation.limit, evaluation.seed)
    different = {repr(config): config for config in configs}.values()
    lacks = dict.fromkeys(lack for config in different for lack in missing(config))
    return f"missing here: {'; '.join(lacks) or 'nothing'}"


def _search(request: SweepRequest, argv: Sequence[str]) -> int:
    space = read_space(request)
    some = space.cells(space.first)
    _check_evaluations(some)
    path = _path(request, "search", [sorted(space.fixed), repr(space.dimensions), request.evaluation])
    if request.flag == "--status":
        axes, known = tuple(space.dimensions), recorded(path)[0]
        return _status(path, [cell for row in known for cell in make_grid(row["overrides"], space.evaluation, axes)])
    _check_machines(request, some)
    if request.flag == "--dry-run":
        missing_here = _check_inputs(some)
        dimensions = "\n".join(f"  {key}: {distribution}" for key, distribution in space.dimensions.items())
        print(f"{path}\n{request.config.n_trials} trials over\n{dimensions}")
        print(f"with {' '.join(space.fixed) or 'nothing else'}. Nothing was started\n{missing_here}")
        return 0
    return _run(request, argv, path, None, lambda session: run_search(session, space))


def _path(request: SweepRequest, about: str, content: object) -> Path:
    """<sweeps_dir>/<sweep_name>, by default <about>-<hash8 of the content>."""
    return Path(request.config.sweeps_dir) / (request.config.sweep_name or f"{about}-{content_hash(content)}")


def _run(
    request: SweepRequest,
    argv: Sequence[str],
    path: Path,
    cell_ids: Collection[str] | None,
    run: Callable[[Session], None],
) -> int:
    """Run and show; SIGTERM counts as Ctrl-C. cell_ids: None for a search, which decides them later."""
    with opened(path, cell_ids) as folder:
        session = Session(folder, request, ["python", "-m", "cada_trl.sweep", *argv])
        try:
            with term_as_ctrl_c():
                run(session)
        except KeyboardInterrupt:
            print(f"stopped; {_counted(session)}")
            raise
        print(f"{_counted(session)}\n{path / 'sweep.md'}\n{_report(path)}")
        rows = [*session.record.get("initial", ()), *session.record.get("cells", ())]
        ended_well = {row["state"] for row in rows} <= {"done", "submitted", "stopped"}
        if unmeasured := (session.search or {}).get("unmeasured"):
            print(f"trials without ASR or NRR, though their cells are done: {', '.join(map(str, unmeasured))}")
        return 0 if ended_well and not unmeasured else 1


def _report(folder: Path) -> Path | str:
    """The page of ASR against NRR, or why there is none: the cells are done all the same."""
    from cada_trl.report.page import write_report
    from cada_trl.report.records import read_sweep

    try:
        return write_report([read_sweep(folder)], folder)
    except UserError as error:
        return f"no page: {error}"


def _counted(session: Session) -> str:
    counts = Counter(row["state"] for row in session.record.get("cells", ()))
    return f"{counts.total()} cells: " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _dry_run(request: SweepRequest, cells: Sequence[Cell], path: Path) -> int:
    place_of(str(path))
    missing_here = _check_inputs(cells)
    jobs = jobs_of(cells)
    to_do = [job for job in jobs if job.results() is None]
    estimates = sweep_costs(cells)
    costs = {job.id: estimates[job.id] for job in to_do}
    if card := request.card:
        print(f"question: {card.question}\nexpected: {card.expected}\npaper: {card.paper}")
    print(path)
    table = Table("id", "cell", "hours", "memory GB", "judge calls")
    for job in jobs:
        cost = costs.get(job.id)
        hours = "done" if cost is None else "unknown" if cost.hours is None else f"{cost.hours:.2f}"
        table.add_row(job.id, job.label, hours, *((f"{cost.memory_gb:.1f}", str(cost.judge_calls)) if cost else ()))
    table_console().print(table)
    print(_total([*costs.values()], request.config.jobs))
    print(missing_here)
    if request.config.submit != "here" and to_do:
        with opened(path, {cell.id for cell in cells}) as folder:
            for command in write_scripts(folder, to_do, request.config):
                print(shlex.join(command))
    return 0


def _status(path: Path, cells: Sequence[Cell]) -> int:
    table = Table(*COLUMNS, title=str(path))
    for row in status_rows(path, jobs_of(cells)):
        table.add_row(*row)
    table_console().print(table)
    return 0


def _total(costs: Sequence[Cost], jobs: int) -> str:
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


if __name__ == "__main__":
    run_verb(main)
