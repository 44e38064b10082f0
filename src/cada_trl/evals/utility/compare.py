"""Two models on the same questions, in pairs: who was right where the other was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.statistics import Estimate, adjusted_difference, mcnemar
from cada_trl.storage.files import read_json


@dataclass(frozen=True)
class Comparison:
    """One task. Accuracies in [0, 1]; difference: after - before with its 95 % interval; p: McNemar's exact test."""

    task: str
    n: int
    before: float
    after: float
    only_before: int  # right before, wrong after
    only_after: int
    difference: Estimate
    p: float


def results_folder(path: Path) -> Path:
    """The path, if it is a folder with a finished task. Errors: UserError."""
    if not any(path.glob("*/result.json")):
        raise UserError(f"{path} holds no finished task; expected a model's results, utility/<model>-<hash8>")
    return path


def compare(before: Path, after: Path) -> list[Comparison]:
    """Compare two model folders on every task folder that both have finished: same name, same plan, same questions.

    Errors: UserError when there is none, and for samples that are not of the same questions.
    """
    names = sorted(path.parent.name for path in results_folder(before).glob("*/result.json"))
    common = [name for name in names if (after / name / "result.json").is_file()]
    if not common:
        raise UserError(
            f"{before} and {after} have no finished task in common; expected the same tasks, limit, seed and data"
        )
    return [_compared(before / name, after / name) for name in common]


def _compared(before: Path, after: Path) -> Comparison:
    plan = read_json(before / "result.json")["plan"]
    first, second = _outcomes(before, plan), _outcomes(after, plan)
    if first.keys() != second.keys():
        raise UserError(f"{before} and {after} hold samples of other questions; make the damaged one again")
    pairs = [(first[key], second[key]) for key in first]
    only_before = sum(was and not now for was, now in pairs)
    only_after = sum(now and not was for was, now in pairs)
    return Comparison(
        task=plan["task"]["name"],
        n=len(pairs),
        before=sum(first.values()) / len(pairs),
        after=sum(second.values()) / len(pairs),
        only_before=only_before,
        only_after=only_after,
        difference=adjusted_difference([float(now) - float(was) for was, now in pairs]),
        p=mcnemar(only_before, only_after),
    )


def _outcomes(folder: Path, plan: dict[str, Any]) -> dict[tuple[str, int, str], bool]:
    """(subset, row, hash of the document) -> correct under the task's own filter."""
    rows = [row for _, row in read_jsonl(folder / "samples.jsonl")]
    try:
        return {
            (row["subset"], row["row"], row["doc_sha256"]): bool(row["correct"][plan["task"]["filter"]]) for row in rows
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}/samples.jsonl: a row without {error}; make the folder again") from error
