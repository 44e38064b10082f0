"""The numbers of finished results: rates of a run's last probes and of an evaluation, with n and 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import measures
from cada_trl.report.records import read_record
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import rate_of
from cada_trl.tracking.metrics import PROBE_SETS

Metrics = dict[str, dict[str, Any]]


def metrics_of(results: Iterable[str]) -> Metrics:
    """Name -> {"n", "asked", "value", "low", "high"}; value, low and high are None where nothing is known.

    probe/<set>/<measure>: after the training, given raw. asr/<benchmark>/<attack> and nrr/...: of the evaluation.
    Errors: UserError as read_record, for a file that is damaged.
    """
    metrics: Metrics = {}
    for path in results:
        record = read_record(Path(path))
        if isinstance(record, RunRecord):
            metrics |= _of_probes(record)
        elif isinstance(record, EvalRecord):
            metrics |= _of_evaluation(record)
    return metrics


def _of_probes(run: RunRecord) -> Metrics:
    metrics: Metrics = {}
    for name in PROBE_SETS:
        rows = [row for row in run.after if row.set == name]
        for measure in measures(name) if rows else ():
            rate = rate_of(rows, measure)
            numbers = {
                "n": rate["n"],
                "asked": len(rows),
                "value": rate["rate"],
                "low": rate["low"],
                "high": rate["high"],
            }
            metrics[f"probe/{name}/{measure}"] = numbers
    return metrics


def _of_evaluation(record: EvalRecord) -> Metrics:
    kept = {"n", "asked", "value", "low", "high"}
    return {
        f"{cell.metric}/{cell.benchmark}/{cell.attack}": cell.headline.model_dump(include=kept)
        for cell in record.scores.cells
    }
