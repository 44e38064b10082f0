"""report: run folders -> one page with intervals.

python -m cada_trl.report runs/smollm2-fc6d9248-s0                     (written into the run folder)
python -m cada_trl.report runs/a-s0 runs/a-s1 runs/a-s2 --out tables   (seeds: mean and sd, curves overlaid)
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cada_trl.errors import UserError, run_verb


def main(argv: list[str]) -> int:
    """The verb. Several runs without --out go to `report` beside the first. Returns 0; errors: UserError."""
    parser = argparse.ArgumentParser(prog="python -m cada_trl.report", description="Report on one or more run folders.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, runs/<name>")
    parser.add_argument("--out", type=Path, help="folder for report.html, report.md, report.json and curves.png")
    arguments = parser.parse_args(argv)
    paths: list[Path] = [path.resolve() for path in arguments.runs]
    if len(set(paths)) < len(paths):
        raise UserError("a run folder is given twice; expected each once, or a seed would count double")

    from cada_trl.reporting.page import write_report
    from cada_trl.reporting.run.run_record import read_run

    runs = [read_run(path) for path in arguments.runs]
    out = arguments.out or (arguments.runs[0] if len(runs) == 1 else arguments.runs[0].parent / "report")
    page = write_report(runs, out)
    for run in runs:
        for sentence in run.missing:
            print(f"{run.name}: {sentence}")
    print(page)
    return 0


if __name__ == "__main__":
    run_verb(main)
