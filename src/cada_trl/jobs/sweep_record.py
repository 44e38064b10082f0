"""sweep.json: the cells of a sweep with what is known of each (docs/sweeps.md has its form), and the same as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from cada_trl.config import config_hash
from cada_trl.document.markdown import bullets, heading, line, table
from cada_trl.errors import UserError
from cada_trl.jobs.folder import SweepFolder
from cada_trl.jobs.grid import Cell, axes_of
from cada_trl.jobs.job import Job, SweepJob
from cada_trl.jobs.ledger import Standing
from cada_trl.jobs.request import AblationCard
from cada_trl.numbers import ABSENT, RATE
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import measures, pooled_note
from cada_trl.report.records import read_record
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import rate_of
from cada_trl.statistics import PooledSpread, pooled_spread
from cada_trl.tracking.manifest import now_utc
from cada_trl.tracking.metrics import PROBE_SETS

FORMAT = 1
_SHOWN = ("probe/harmful/answered_frac", "probe/harmful/reasoned_refusal_frac", "probe/harmless/answered_frac")
_OF_EVALUATION = ("asr", "nrr")
Row = dict[str, Any]
Planned = dict[str, tuple[Cell, SweepJob, SweepJob | None]]  # cell id -> cell, its job, that of its initial model


def sweep_record(
    folder: SweepFolder, command: Sequence[str], card: AblationCard | None, plan: Planned, board: Mapping[str, Standing]
) -> Row:
    """The content of sweep.json."""
    initial = {job.id: job for _, _, job in plan.values() if job is not None}
    return {
        "format": FORMAT,
        "name": folder.path.name,
        "written_utc": now_utc(),
        "command": list(command),
        "ablation": card.model_dump() if card else None,
        "axes": axes_of([cell for cell, _, _ in plan.values()]),
        "initial": [
            {"id": job.id, "model": job.config.model.name, **_standing(job, board[job.id], folder)}
            for job in initial.values()
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
                "initial": first.id if first else None,
                **_standing(job, board[job.id], folder),
            }
            for cell, job, first in plan.values()
        ],
    }


def metrics_of(results: Iterable[str]) -> dict[str, Row]:
    """Name -> {"n", "asked", "value", "low", "high"}; value, low and high are None where nothing is known.

    probe/<set>/<measure>: after the training, given raw. asr/<benchmark>/<attack> and nrr/...: of the evaluation.
    Errors: UserError as read_record, for a file that is damaged.
    """
    metrics: dict[str, Row] = {}
    for path in results:
        record = read_record(Path(path))
        if isinstance(record, RunRecord):
            for name in PROBE_SETS:
                rows = [row for row in record.after if row.set == name]
                for measure in measures(name) if rows else ():
                    rate = rate_of(rows, measure)
                    interval = {"value": rate["rate"], "low": rate["low"], "high": rate["high"]}
                    metrics[f"probe/{name}/{measure}"] = {"n": rate["n"], "asked": len(rows), **interval}
        elif isinstance(record, EvalRecord):
            for cell in record.scores.cells:
                measured = cell.headline.model_dump(include={"n", "asked", "value", "low", "high"})
                metrics[f"{cell.metric}/{cell.benchmark}/{cell.attack}"] = measured
    return metrics


def sweep_page(record: Row) -> str:
    """The record as Markdown: a row per cell, its rates with n and 95 % intervals; then a row per configuration."""
    card, metrics = record["ablation"], _columns(record)
    axes = [axis for axis in record["axes"] if axis != "seed"]
    all_rows = [*({**first, "axes": {}} for first in record["initial"]), *record["cells"]]
    rows = [
        [row["id"], *(row["axes"].get(axis, "") for axis in axes), row.get("seed", ""), row["state"], _minutes(row)]
        + [_measured(row["metrics"].get(name)) for name in metrics]
        for row in all_rows
    ]
    about = [f"{word}: {card[word.lower()]}" for word in ("Question", "Expected", "Paper")] if card else []
    reasons = [f"{row['id']}: {row['reason']}" for row in all_rows if row["reason"]]
    parts = [
        heading(1, f"Sweep {record['name']}"),
        *map(line, about),
        "Rates: value, n, Wilson 95 % interval. Probes: held-out requests given raw, after the training.",
        table(["id", *axes, "seed", "state", "min", *metrics], rows),
        over_seeds(record, metrics),
        bullets(reasons) if reasons else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def over_seeds(record: Row, metrics: Sequence[str]) -> str:
    """A row per configuration with the means of its seeds, their intervals from the variance that all share.

    Nothing where no configuration has two seeds. record: of sweep.json; metrics: the columns' names.
    """
    groups: dict[str, list[Row]] = {}
    for row in record["cells"]:
        groups.setdefault(row["config_hash"], []).append(row)
    values = {name: [_known(group, name) for group in groups.values()] for name in metrics}
    pools = {name: pooled_spread(of_all) for name, of_all in values.items()}
    if not any(pool.df for pool in pools.values()):
        return ""
    axes = [axis for axis in record["axes"] if axis != "seed"]
    rows = [
        [group[0]["axes"].get(axis, "") for axis in axes] + [_mean(values[name][i], pools[name]) for name in metrics]
        for i, group in enumerate(groups.values())
    ]
    note = f"{pooled_note(list(pools.items()))} The requests are taken as they are."
    return "\n\n".join([heading(2, "Over seeds"), note, table([*axes, *metrics], rows)])


def _standing(job: Job, standing: Standing, folder: SweepFolder) -> Row:
    """State, folders and numbers; only what is done has numbers."""
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
        "log": str(folder.log(job.id)),
        "metrics": metrics,
    }


def _columns(record: Row) -> list[str]:
    """The card's metrics or the usual ones, those that a row has; asr and nrr stand for each benchmark and attack."""
    known = dict.fromkeys(name for row in [*record["initial"], *record["cells"]] for name in row["metrics"])
    wanted = record["ablation"]["metrics"] if record["ablation"] else [*_SHOWN, *_OF_EVALUATION]
    return [name for metric in wanted for name in known if name == metric or (name.split("/")[0] == metric != "probe")]


def _minutes(row: Row) -> str:
    return str(ABSENT) if row["wall_s"] is None else f"{row['wall_s'] / 60:.1f}"


def _measured(measure: Row | None) -> str:
    if measure is None or measure["value"] is None:
        return "" if measure is None else str(ABSENT)
    interval = RATE.span(measure["low"], measure["high"])
    return f"{RATE.text(measure['value'])} % (n {measure['n']}; {interval})"


def _known(group: Sequence[Row], name: str) -> list[float]:
    """The seeds' values; a cell that is not done, or whose value is withheld, has none."""
    values = [(row["metrics"].get(name) or {}).get("value") for row in group]
    return [value for value in values if value is not None]


def _mean(values: Sequence[float], pool: PooledSpread) -> str:
    """`41.0 % (3 seeds; 35.2 to 46.8)`, without an interval `41.0 % (2 seeds, 40.0 to 42.0)`."""
    if not values:
        return str(ABSENT)
    n, mean = len(values), fmean(values)
    note = f"{n} seed{'s' if n > 1 else ''}"
    if interval := pool.interval(mean, n):
        note += f"; {RATE.span(*interval)}{', borrowed' if n == 1 else ''}"
    elif n > 1:
        note += f", {RATE.span(min(values), max(values))}"
    return f"{RATE.text(mean)} % ({note})"
