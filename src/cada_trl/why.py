"""why: two runs, or two evaluations -> what differs between them, what it means, and where it first shows.

python -m cada_trl.why runs/smollm2-fc6d9248-s0 runs/smollm2-fc6d9248-s1
python -m cada_trl.why runs/a runs/b --out why         (why.md and why.json too)
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from cada_trl.arguments import Arguments, destination
from cada_trl.console import table_console
from cada_trl.document.blocks import Document
from cada_trl.document.render import markdown, show
from cada_trl.errors import UserError, run_verb
from cada_trl.report.differences import TOLERANCE
from cada_trl.report.explain import explain_evaluations, explain_runs
from cada_trl.report.records import EvalRecord, read_record
from cada_trl.report.run_record import RunRecord
from cada_trl.storage.files import replace, replace_json
from cada_trl.tracking.manifest import scrub


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError for folders that are not two finished runs or two evaluations."""
    parser = Arguments(prog="python -m cada_trl.why", description="Explain two runs' difference.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="runs/<name> or evals/<name>, twice")
    parser.add_argument("--out", type=destination, help="folder for why.md and why.json")
    parser.add_argument(
        "--tolerance", type=_gap, help=f"of two runs: relative gap of a metric that is none ({TOLERANCE})"
    )
    arguments = parser.parse_args(argv)
    explanation = explain(arguments.folders, arguments.tolerance)
    show(explanation, table_console())
    if (out := arguments.out) is not None:
        replace(out / "why.md", markdown(explanation))
        replace_json(out / "why.json", scrub(explanation.twin))
        print(out / "why.md", out / "why.json", sep="\n")
    return 0


def _gap(word: str) -> float:
    try:
        gap = float(word)
    except ValueError:
        gap = math.nan
    if not 0 <= gap < math.inf:
        raise argparse.ArgumentTypeError(f"{word} is no gap; expected a number from 0, as in 0.01")
    return gap


def explain(folders: list[Path], tolerance: float | None = None) -> Document:
    """Read the two folders and explain them. Errors: UserError, one line."""
    if len(folders) != 2 or folders[0].resolve() == folders[1].resolve():
        raise UserError(f"{len(folders)} folder(s) given; expected two different ones, as in why runs/A runs/B")
    a, b = (read_record(folder) for folder in folders)
    if isinstance(a, RunRecord) and isinstance(b, RunRecord):
        return explain_runs(a, b, TOLERANCE if tolerance is None else tolerance)
    if tolerance is not None:
        raise UserError(f"--tolerance {tolerance:g} is of two runs' metrics, and these are no two runs; leave it out")
    if isinstance(a, EvalRecord) and isinstance(b, EvalRecord):
        return explain_evaluations(a, b)
    raise UserError(f"{folders[0]} and {folders[1]}: expected two training runs or two evaluations, not other folders")


if __name__ == "__main__":
    run_verb(main)
