"""One static page: HTML that loads nothing from anywhere, with a Markdown and a JSON twin beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cada_trl.document.markdown import heading
from cada_trl.reporting.dashboard.dashboard_part import dashboard_part
from cada_trl.reporting.evaluation.eval_not_run import missing_kinds
from cada_trl.reporting.evaluation.eval_part import eval_part
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import labels
from cada_trl.reporting.faithfulness.faithfulness_part import faithfulness_part
from cada_trl.reporting.faithfulness.faithfulness_record import FaithfulnessRecord
from cada_trl.reporting.part import Part
from cada_trl.reporting.record import Record
from cada_trl.reporting.run.run_part import run_part
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.sweep.sweep_part import sweep_part
from cada_trl.reporting.sweep.sweep_record import SweepRecord
from cada_trl.reporting.template import render
from cada_trl.reporting.utility.utility_part import utility_part
from cada_trl.reporting.utility.utility_record import UtilityRecord
from cada_trl.storage.files import replace, writing


def write_report(records: Sequence[Record], out: Path, judge_cards: Path | None = None) -> Path:
    """Write report.html, report.md, report.json and the pictures into `out`; returns the page's path.

    judge_cards: folder with cards that judging.calibrate kept. Errors: UserError when `out` cannot be written, and as
    eval_part and utility_part for folders that cannot stand on one page.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    parts = _parts(records, judge_cards)
    title = "Report: " + ", ".join(name for part in parts for name in part.names)
    twin = {key: value for part in parts for key, value in part.twin.items()}
    files = {name: image for part in parts for name, image in part.images.items()} | {
        "report.json": (json.dumps(twin, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"),
        "report.md": "\n\n".join([heading(1, title), *(part.markdown for part in parts)]).encode(
            errors="backslashreplace"
        )
        + b"\n",
        "report.html": render("page.html", title=title, parts=parts).encode(errors="backslashreplace"),
    }
    for name, content in files.items():
        replace(out / name, content)
    return out / "report.html"


def _parts(records: Sequence[Record], judge_cards: Path | None) -> list[Part]:
    evaluations = [record for record in records if isinstance(record, EvalRecord)]
    utilities = [record for record in records if isinstance(record, UtilityRecord)]
    runs = [record for record in records if isinstance(record, RunRecord)]
    probings = [record for record in records if isinstance(record, FaithfulnessRecord)]
    sweeps = [record for record in records if isinstance(record, SweepRecord)]
    parts = []
    if sweeps:
        parts.append(sweep_part(sweeps))
    if evaluations:
        parts.append(eval_part(evaluations, judge_cards, missing_kinds(evaluations, bool(utilities), bool(runs))))
    if probings:
        parts.append(faithfulness_part(probings))
    if utilities:
        parts.append(utility_part(utilities))
    if runs:
        parts.append(run_part(runs))
    if shown := list(zip(labels(runs), runs, strict=True)) or [run for sweep in sweeps for run in sweep.runs]:
        parts.append(dashboard_part(shown))
    return parts
