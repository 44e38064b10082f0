"""report: run, evaluation, utility and sweep folders -> one page with intervals.

python -m cada_trl.report runs/smollm2-fc6d9248-s0                     (written into the run folder)
python -m cada_trl.report runs/a-s0 runs/a-s1 runs/a-s2 --out tables   (seeds: mean and sd, curves overlaid)
python -m cada_trl.report evals/before evals/after runs/a-s0 utility/before utility/after --out page
python -m cada_trl.report sweeps/beta_kl-88db9abd                      (ASR against NRR of its cells, the Pareto front)
"""

from __future__ import annotations

from pathlib import Path

from cada_trl.arguments import Arguments, destination, folder
from cada_trl.errors import UserError, run_verb


def main(argv: list[str]) -> int:
    """The verb. Several folders without --out go to `report` beside the first. Returns 0; errors: UserError."""
    parser = Arguments(prog="python -m cada_trl.report", description="Report on what was run.")
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="runs/, evals/, faithfulness/, utility/ or sweeps/<name>",
    )
    parser.add_argument(
        "--out", type=destination, help="folder for report.html, report.md, report.json and the pictures"
    )
    parser.add_argument(
        "--judge-cards", type=folder, help="where judging.calibrate kept its cards; runs/judge_cards by default"
    )
    arguments = parser.parse_args(argv)
    paths: list[Path] = [path.resolve() for path in arguments.folders]
    if len(set(paths)) < len(paths):
        raise UserError("a folder is given twice; expected each once, or a seed would count double")

    from cada_trl.judging.card import CARDS
    from cada_trl.report.page import write_report
    from cada_trl.report.records import read_record
    from cada_trl.report.run_record import RunRecord

    records = [read_record(path) for path in arguments.folders]
    out = arguments.out or (arguments.folders[0] if len(paths) == 1 else paths[0].parent / "report")
    page = write_report(records, out, arguments.judge_cards or CARDS)
    for run in (record for record in records if isinstance(record, RunRecord)):
        for sentence in run.missing:
            print(f"{run.name}: {sentence}")
    print(page)
    return 0


if __name__ == "__main__":
    run_verb(main)
