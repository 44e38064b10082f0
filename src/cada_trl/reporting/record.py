"""Which kind of folder it is, and the record of it: a training run, an evaluation, a sweep and so on."""

from __future__ import annotations

import json
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.evals.responses import ATTEMPTS
from cada_trl.reporting.evaluation.eval_record import EvalRecord, read_evaluation
from cada_trl.reporting.faithfulness.faithfulness_record import FaithfulnessRecord, read_faithfulness
from cada_trl.reporting.run.run_record import RunRecord, read_run
from cada_trl.reporting.sweep.sweep_record import SWEEP, SweepRecord, read_sweep
from cada_trl.reporting.utility.utility_record import UtilityRecord, read_utility

FOLDERS = "runs/<name>, evals/<name>, faithfulness/<name>, utility/<name> or sweeps/<name>"

Record = RunRecord | EvalRecord | FaithfulnessRecord | UtilityRecord | SweepRecord


def read_record(path: Path) -> Record:
    """Read the folder by its kind. Errors: UserError for a folder that is none, and as the kinds' own readers."""
    if not path.is_dir():
        raise UserError(f"no such folder: {path}; expected {FOLDERS}")
    if (path / SWEEP).is_file():
        return read_sweep(path)
    manifest = _manifest(path)
    if "interventions" in manifest:
        return read_faithfulness(path)
    if "decides" in manifest or (path / ATTEMPTS).is_file():
        return read_evaluation(path)
    if "tasks" in manifest or any(path.glob("*/result.json")):
        return read_utility(path)
    if any((path / name).is_file() for name in ("manifest.json", "config.yaml", "train.jsonl")):
        return read_run(path)
    raise UserError(
        f"{path} is no folder of a run, an evaluation or a utility result (no manifest.json, train.jsonl or {ATTEMPTS} "
        f"in it); give {FOLDERS}"
    )


def _manifest(path: Path) -> dict[str, object]:
    """{} where it is absent or damaged: the kind's own reader says so, if the other files tell the kind."""
    try:
        values = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
