"""One static page: HTML that loads nothing from anywhere, with a Markdown and a JSON twin beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cada_trl.document.blocks import Document
from cada_trl.document.render import html, markdown
from cada_trl.judging.card import CARDS
from cada_trl.report.caveats import missing_kinds
from cada_trl.report.eval_part import eval_part
from cada_trl.report.names import labels
from cada_trl.report.records import EvalRecord, FaithfulnessRecord, Record, SweepRecord, UtilityRecord
from cada_trl.report.results_part import faithfulness_part, utility_part
from cada_trl.report.run_part import dashboard_part, run_part
from cada_trl.report.run_record import RunRecord
from cada_trl.report.sweep_part import sweep_part
from cada_trl.storage.files import replace, writing

ABOUT = "Case-augmented deliberative alignment, arXiv 2601.08000. What was not scored is never counted as a number."


def write_report(records: Sequence[Record], out: Path, judge_cards: Path = CARDS) -> Path:
    """Write report.html, report.md, report.json and the pictures; returns the page's path.

    judge_cards: where cards were kept, if any were. Errors: UserError for an `out` that takes none, and as the parts.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    parts = list(_parts(records, judge_cards))
    document = Document(
        "Report: " + ", ".join(part.title for part in parts if part.title),
        [section for part in parts for section in part.sections],
        {key: value for part in parts for key, value in part.twin.items()},
    )
    for name, image in ((name, image) for part in parts for name, image in part.images.items()):
        replace(out / name, image)
    replace(out / "report.json", json.dumps(document.twin, indent=2, ensure_ascii=False) + "\n")
    replace(out / "report.md", markdown(document))
    replace(out / "report.html", html(document, ABOUT))
    return out / "report.html"


def _parts(records: Sequence[Record], judge_cards: Path) -> Iterator[Document]:
    runs = [record for record in records if isinstance(record, RunRecord)]
    shown = list(zip(labels(runs), runs, strict=True))
    if sweeps := [record for record in records if isinstance(record, SweepRecord)]:
        yield sweep_part(sweeps)
        shown = shown or [run for sweep in sweeps for run in sweep.runs]
    utilities = [record for record in records if isinstance(record, UtilityRecord)]
    if evaluations := [record for record in records if isinstance(record, EvalRecord)]:
        yield eval_part(evaluations, judge_cards, missing_kinds(evaluations, bool(utilities), bool(shown)))
    if probings := [record for record in records if isinstance(record, FaithfulnessRecord)]:
        yield faithfulness_part(probings)
    if utilities:
        yield utility_part(utilities)
    if runs:
        yield run_part(runs)
    if shown:
        yield dashboard_part(shown, has_curves=bool(runs))
