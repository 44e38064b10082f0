from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.utility.compare import compare
from cada_trl.records import write_jsonl
from cada_trl.statistics import adjusted_difference
from cada_trl.storage.files import replace_json


def model_folder(folder: Path, task: str, correct: list[bool], first_row: int = 0) -> Path:
    rows = [
        {"subset": "all", "row": row, "doc_sha256": f"doc {row}", "correct": {"none": one}}
        for row, one in enumerate(correct, start=first_row)
    ]
    (folder / task).mkdir(parents=True)
    write_jsonl(folder / task / "samples.jsonl", rows)
    replace_json(folder / task / "result.json", {"plan": {"task": {"name": "mmlu", "filter": "none"}}})
    return folder


def test_pairs_are_counted_question_by_question(tmp_path: Path) -> None:
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True, True, True, True, False, False])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True, False, False, False, False, False])
    (one,) = compare(before, after)
    assert (one.task, one.n, one.only_before, one.only_after) == ("mmlu", 6, 3, 0)
    assert (one.before, one.after) == (4 / 6, 1 / 6)
    assert one.p == 0.25  # three changed pairs, all one way: 2 * (1/2)^3
    assert one.difference == adjusted_difference([0, -1, -1, -1, 0, 0])


def test_only_tasks_that_both_finished_with_one_plan_are_compared(tmp_path: Path) -> None:
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True])
    model_folder(before, "mmlu-11111111", [True])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True])
    model_folder(after, "mmlu-22222222", [True])
    assert len(compare(before, after)) == 1


def test_nothing_in_common_is_said(tmp_path: Path) -> None:
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True])
    after = model_folder(tmp_path / "b", "mmlu-11111111", [True])
    with pytest.raises(UserError, match="no finished task in common; expected the same tasks, limit, seed and data"):
        compare(before, after)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent holds no finished task; expected a model's results"):
        compare(tmp_path / "absent", tmp_path)


def test_samples_of_other_questions_are_refused(tmp_path: Path) -> None:
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True, False])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True, False], first_row=1)
    with pytest.raises(UserError, match="hold samples of other questions"):
        compare(before, after)


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True])
    write_jsonl(before / "mmlu-00000000" / "samples.jsonl", [{"subset": "all", "row": 0}])
    with pytest.raises(UserError, match=r"samples\.jsonl: a row without 'doc_sha256'"):
        compare(before, before)
