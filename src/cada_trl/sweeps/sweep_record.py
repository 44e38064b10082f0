"""sweep.json: the cells of a sweep with what is known of each (docs/sweeps.md has its form), and the same as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import config_hash
from cada_trl.document import markdown
from cada_trl.errors import UserError
from cada_trl.numbers import ABSENT
from cada_trl.sweeps.ablation import AblationCard
from cada_trl.sweeps.cell_metrics import metrics_of
from cada_trl.sweeps.grid import Cell, axes_of
from cada_trl.sweeps.job import Job
from cada_trl.sweeps.ledger import Standing
from cada_trl.sweeps.over_seeds import over_seeds
from cada_trl.sweeps.sweep_folder import SweepFolder
from cada_trl.tracking.manifest import now_utc

FORMAT = 1
_SHOWN = ("probe/harmful/answered_frac", "probe/harmful/reasoned_refusal_frac", "probe/harmless/answered_frac")
_OF_EVALUATION = ("asr", "nrr")
Row = dict[str, Any]


def sweep_record(
    folder: SweepFolder,
    command: Sequence[str],
    card: tuple[str, AblationCard] | None,
    cells: Mapping[str, tuple[Cell, Job, Job | None]],
    board: Mapping[str, Standing],
) -> Row:
    """The content of sweep.json. cells: id -> cell, its job, the job of its initial model."""
    initial = {job.id: job for _, _, job in cells.values() if job is not None}
    return {
        "format": FORMAT,
        "name": folder.path.name,
        "written_utc": now_utc(),
        "command": list(command),
        "ablation": {"name": card[0], **card[1].model_dump()} if card else None,
        "axes": axes_of([cell for cell, _, _ in cells.values()]),
        "initial": [
            {"id": job.id, "model": job.config.model.name, **_standing(job, board[job.id], folder)}
            for job in initial.values()
        ],
        "cells": [_cell(cell, job, first, board[job.id], folder) for cell, job, first in cells.values()],
    }


def sweep_page(record: Row) -> str:
    """The record as Markdown: a row a cell, its rates with n and 95 % intervals; then a row a configuration."""
    card, metrics = record["ablation"], _columns(record)
    axes = [axis for axis in record["axes"] if axis != "seed"]
    header = ["id", *axes, "seed", "state", "min", *metrics]
    rows = [
        [row["id"], *(row["axes"].get(axis, "") for axis in axes), row.get("seed", ""), row["state"], _minutes(row)]
        + [_shown(row["metrics"].get(name)) for name in metrics]
        for row in [*({**first, "axes": {}} for first in record["initial"]), *record["cells"]]
    ]
    about = (
        [f"Question: {card['question']}", f"Expected: {card['expected']}", f"Paper: {card['paper']}"] if card else []
    )
    reasons = [f"{row['id']}: {row['reason']}" for row in [*record["initial"], *record["cells"]] if row["reason"]]
    parts = [
        markdown.heading(1, f"Sweep {record['name']}"),
        *(markdown.line(text) for text in about),
        "Rates: value, n, Wilson 95 % interval. Probes: held-out requests given raw, after the training.",
        markdown.table(header, rows),
        *([over] if (over := over_seeds(record, metrics)) else []),
        *([markdown.bullets(reasons)] if reasons else []),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(cell: Cell, job: Job, first: Job | None, standing: Standing, folder: SweepFolder) -> Row:
    return {
        "id": cell.id,
        "config_hash": config_hash(cell.config),
        "model": cell.config.model.name,
        "axes": cell.axes,
        "seed": cell.config.seed,
        "overrides": list(cell.words),
        "run_folder": str(cell.run_folder),
        "initial": first.id if first else None,
        **_standing(job, standing, folder),
    }


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
        "evaluations": [one for one in standing.results if Path(one) != job.run_folder],
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


def _shown(measure: Row | None) -> str:
    if measure is None:
        return ""
    if measure["value"] is None:
        return str(ABSENT)
    low, high = 100 * measure["low"], 100 * measure["high"]
    return f"{100 * measure['value']:.1f} % (n {measure['n']}; {low:.1f} to {high:.1f})"
