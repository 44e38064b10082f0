"""export-eval: evaluation folders -> logs that `inspect view` opens, with every sample, verdict and rate.

python -m cada_trl.export_eval evals/smollm2-1234abcd                    (into logs/, where inspect looks)
python -m cada_trl.export_eval evals/before evals/after --out logs/mine  (then: inspect view --log-dir logs/mine)
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cada_trl.arguments import Arguments, destination
from cada_trl.errors import UserError, run_verb
from cada_trl.report.records import read_evaluated
from cada_trl.storage.files import whole, writing


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, one line."""
    parser = Arguments(prog="python -m cada_trl.export_eval", description="Export to inspect_ai.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="evals/<name>")
    parser.add_argument("--out", type=destination, default=Path("logs"), help="folder for the logs; logs by default")
    arguments = parser.parse_args(argv)
    if len({folder.resolve().name for folder in arguments.folders}) < len(arguments.folders):
        raise UserError("two of the folders have one name and would be one log; expected different ones")
    records = [read_evaluated(folder) for folder in arguments.folders]
    if find_spec("inspect_ai") is None:
        raise UserError("export-eval needs the extra inspect: pip install 'cada_trl[inspect]'")
    from inspect_ai.log import write_eval_log

    from cada_trl.report.inspect_log import inspect_log

    for record in records:
        log = inspect_log(record)
        # inspect lists a .json by this form of name; its own .eval is a zip and holds the time at which it was written
        stem = [log.eval.created[:19].replace(":", "-"), "benchmarks", record.name.replace("_", "-"), log.eval.task_id]
        path: Path = arguments.out / f"{'_'.join(stem)}.json"
        with writing(path), whole(path) as partial:
            write_eval_log(log, partial, format="json")
        print(path)
    return 0


if __name__ == "__main__":
    run_verb(main)
