"""lm-eval's output -> a row per question, the accuracy with its interval, two models in pairs.

What is not whole becomes no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evaluation.compare import Answers, Change, paired_change, with_holm
from cada_trl.evaluation.utility.task import Plan
from cada_trl.records import read_jsonl
from cada_trl.statistics.intervals import Rate
from cada_trl.storage.files import read_json

RESULT, SAMPLES = "result.json", "samples.jsonl"
Row = dict[str, Any]


def sample_rows(plan: Plan, output: Mapping[str, Any]) -> list[Row]:
    """One row a question, in the plan's order: subset, row, hashes of document and prompt, target, answer, correct.

    correct: filter's name -> whether the answer counts under it. Errors: RuntimeError where lm-eval's samples are not
    exactly the plan's questions or a score is neither 0 nor 1: then there is no result.
    """
    rows: dict[tuple[str, int], Row] = {}
    for subset in plan.questions:
        for sample in output["samples"][plan.task.leaf_of(subset)]:
            row = rows.setdefault((subset, sample["doc_id"]), _row(subset, sample))
            if sample["filter"] == plan.task.filter:
                row["answer"] = _plain(sample["filtered_resps"])
            if (score := sample[plan.task.metric]) not in (0, 1):
                raise RuntimeError(f"lm-eval scored a question {score!r}; expected 0 or 1")
            row["correct"][sample["filter"]] = bool(score)
    asked = [(subset, number) for subset, numbers in plan.questions.items() for number in numbers]
    if sorted(rows) != sorted(asked) or any(plan.task.filter not in row["correct"] for row in rows.values()):
        raise RuntimeError(f"{plan.task.name}: lm-eval's samples are not the {len(asked)} questions asked")
    return [rows[key] for key in asked]


def accuracies(plan: Plan, rows: list[Row], output: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy under the task's filter and the others, over all questions and by subset, lm-eval's own beside it.

    Each question counts once (lm-eval's weight_by_size). Errors: RuntimeError where lm-eval's accuracy differs.
    """
    task, own = plan.task, plan.task.filter
    scores = output["groups"][task.group] if task.group else output["results"][task.leaf]
    accuracy = _rate(rows, own)
    theirs, stderr = scores[f"{task.metric},{own}"], scores[f"{task.metric}_stderr,{own}"]
    if abs(theirs - accuracy["value"]) > 1e-9:
        raise RuntimeError(f"{task.name}: accuracy {accuracy['value']} here and {theirs} in lm-eval; expected the same")
    return {
        "accuracy": accuracy,
        "lm_eval": {"accuracy": theirs, "stderr": stderr if isinstance(stderr, float) else None},
        "other_filters": {name: _rate(rows, name) for name in rows[0]["correct"] if name != own},
        "subsets": {subset: _rate([row for row in rows if row["subset"] == subset], own) for subset in plan.questions},
    }


def finished_result(plan: Plan, folder: Path) -> dict[str, Any] | None:
    """The task's result if it ended well, else None. Errors: UserError for files that are damaged or another plan's."""
    path = folder / RESULT
    if not path.is_file():
        return None
    result = read_json(path)
    rows = sum(1 for _ in read_jsonl(folder / SAMPLES))
    if result.get("plan_hash") != plan.hash or rows != plan.n:
        raise UserError(
            f"{folder} holds plan {result.get('plan_hash')} with {rows} samples; expected {plan.hash} with {plan.n}: "
            "move the folder away, and the same command makes it again"
        )
    return result


def _row(subset: str, sample: Mapping[str, Any]) -> Row:
    return {
        "subset": subset,
        "row": sample["doc_id"],
        "doc_sha256": sample["doc_hash"],
        "prompt_sha256": sample["prompt_hash"],
        "target": sample["target"],
        "response": _plain(sample["resps"]),
        "answer": None,
        "correct": {},
    }


def _plain(value: Any) -> Any:
    """Lists of one element as the element: lm-eval nests answers by request and repeat."""
    if isinstance(value, list | tuple):
        return _plain(value[0]) if len(value) == 1 else [_plain(item) for item in value]
    return value


def _rate(rows: list[Row], name: str) -> dict[str, Any]:
    rate = Rate.of(row["correct"].get(name) for row in rows)
    low, high = rate.interval
    return {"value": rate.value, "low": low, "high": high, "n": rate.n, "asked": rate.asked}


def results_folder(path: Path) -> Path:
    """The path, if it is a folder with a finished task. Errors: UserError."""
    if not any(path.glob("*/result.json")):
        raise UserError(f"{path} holds no finished task; expected a model's results, utility/<model>-<hash8>")
    return path


def compare(before: Path, after: Path) -> list[tuple[str, Change]]:
    """(task, change) of every task folder that both have finished: same name, same plan, same questions.

    p_holm covers these tasks. Errors: UserError when there is none, and for samples that are not of the same questions.
    """
    names = sorted(path.parent.name for path in results_folder(before).glob("*/result.json"))
    common = [name for name in names if (after / name / RESULT).is_file()]
    if not common:
        raise UserError(
            f"{before} and {after} have no finished task in common; expected the same tasks, limit, seed and data"
        )
    tasks = [read_json(before / name / RESULT)["plan"]["task"] for name in common]
    changes = [_change(before / name, after / name, task["filter"]) for name, task in zip(common, tasks, strict=True)]
    return list(zip([task["name"] for task in tasks], with_holm(changes), strict=True))


def _change(before: Path, after: Path, filter_name: str) -> Change:
    first, second = right_answers(before, filter_name), right_answers(after, filter_name)
    if first.keys() != second.keys():
        raise UserError(f"{before} and {after} hold samples of other questions; make the damaged one again")
    return paired_change([first], [second], 0.0, is_rate=True)


def right_answers(folder: Path, filter_name: str) -> Answers:
    """Whether each question's answer is correct; every question is an item of its own. Errors: UserError."""
    rows = [row for _, row in read_jsonl(folder / SAMPLES)]
    try:
        keys = [f"{row['subset']}/{row['row']}/{row['doc_sha256']}" for row in rows]
        correct = [bool(row["correct"][filter_name]) for row in rows]
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / SAMPLES}: a row without {error}; make the folder again") from error
    return {key: (key, one) for key, one in zip(keys, correct, strict=True)}
