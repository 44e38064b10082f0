"""lm-eval's output as rows, accuracies and pairs: what is not whole becomes no number."""

import math

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.utility.results import accuracies, compare, finished_result, sample_rows
from cada_trl.evaluation.utility.task import Plan
from cada_trl.records import write_jsonl
from cada_trl.statistics.intervals import adjusted_mean, wilson
from cada_trl.storage.files import replace_json

from .conftest import small_task

BBH = Plan(small_task("bbh"), {"boolean_expressions": [0, 1], "navigate": [0]}, None, {"seed": 0})
FILTERS = ("strict-match", "flexible-extract")


def sample(number, name, correct):
    return {
        "doc_id": number,
        "doc_hash": f"doc {number}",
        "prompt_hash": f"prompt {number}",
        "target": "True",
        "arguments": [("Q: ...", {})],
        "resps": [["It is True"]],
        "filtered_resps": ["True" if name == "flexible-extract" else "It is True"],
        "filter": name,
        "exact_match": correct,
    }


def output(boolean, accuracy=2 / 3):
    """What lm-eval gives back: Boolean rows as given, and a navigate row that only the flexible filter accepts."""
    return {
        "samples": {
            "bbh_zeroshot_boolean_expressions": boolean,
            "bbh_zeroshot_navigate": [sample(0, "strict-match", 0.0), sample(0, "flexible-extract", 1.0)],
        },
        "groups": {
            "bbh_zeroshot": {"exact_match,flexible-extract": accuracy, "exact_match_stderr,flexible-extract": 0.25}
        },
        "results": {},
    }


ONE_OF_TWO = [sample(number, name, float(number == 1)) for name in FILTERS for number in (0, 1)]


def test_a_row_holds_the_answer_of_the_tasks_filter_and_what_each_filter_says():
    rows = sample_rows(BBH, output(ONE_OF_TWO))
    assert [(row["subset"], row["row"]) for row in rows] == [
        ("boolean_expressions", 0),
        ("boolean_expressions", 1),
        ("navigate", 0),
    ]
    assert rows[2] == {
        "subset": "navigate",
        "row": 0,
        "doc_sha256": "doc 0",
        "prompt_sha256": "prompt 0",
        "target": "True",
        "response": "It is True",
        "answer": "True",
        "correct": {"strict-match": False, "flexible-extract": True},
    }


def test_the_accuracy_counts_each_question_once_with_its_wilson_interval():
    rows = sample_rows(BBH, output(ONE_OF_TWO))
    scores = accuracies(BBH, rows, output(ONE_OF_TWO))
    low, high = wilson(2, 3)
    assert scores["accuracy"] == {"value": 2 / 3, "low": low, "high": high, "n": 3, "asked": 3}
    assert scores["lm_eval"] == {"accuracy": 2 / 3, "stderr": 0.25}
    assert scores["other_filters"]["strict-match"]["value"] == 1 / 3
    assert {name: rate["value"] for name, rate in scores["subsets"].items()} == {
        "boolean_expressions": 0.5,
        "navigate": 1.0,
    }


def test_a_standard_error_that_lm_eval_does_not_give_is_null():
    given = output(ONE_OF_TWO)
    given["groups"]["bbh_zeroshot"]["exact_match_stderr,flexible-extract"] = "N/A"
    assert accuracies(BBH, sample_rows(BBH, given), given)["lm_eval"]["stderr"] is None


@pytest.mark.parametrize(
    "boolean",
    [
        [one for one in ONE_OF_TWO if one["doc_id"] == 0],
        [*ONE_OF_TWO, sample(2, "flexible-extract", 1.0)],
        [one for one in ONE_OF_TWO if one["filter"] == "strict-match"],
    ],
    ids=["one missing", "one too many", "the filter missing"],
)
def test_samples_that_are_not_the_plans_questions_become_no_number(boolean):
    with pytest.raises(RuntimeError, match="bbh: lm-eval's samples are not the 3 questions asked"):
        sample_rows(BBH, output(boolean))


@pytest.mark.parametrize("value", [0.5, math.nan, None])
def test_a_score_that_is_neither_right_nor_wrong_becomes_no_number(value):
    with pytest.raises(RuntimeError, match="expected 0 or 1"):
        sample_rows(BBH, output([sample(0, "flexible-extract", value)]))


def test_an_accuracy_that_differs_from_lm_evals_becomes_no_number():
    with pytest.raises(RuntimeError, match=r"bbh: accuracy 0\.66.* here and 0\.5 in lm-eval"):
        accuracies(BBH, sample_rows(BBH, output(ONE_OF_TWO)), output(ONE_OF_TWO, accuracy=0.5))


def test_a_result_is_finished_only_with_its_samples_and_its_plan(tmp_path):
    assert finished_result(BBH, tmp_path) is None
    rows = sample_rows(BBH, output(ONE_OF_TWO))
    write_jsonl(tmp_path / "samples.jsonl", rows)
    assert finished_result(BBH, tmp_path) is None
    replace_json(tmp_path / "result.json", {"plan_hash": BBH.hash})
    assert finished_result(BBH, tmp_path) == {"plan_hash": BBH.hash}
    write_jsonl(tmp_path / "samples.jsonl", rows[:2])
    with pytest.raises(UserError, match=f"holds plan {BBH.hash} with 2 samples; expected {BBH.hash} with 3"):
        finished_result(BBH, tmp_path)


def test_another_plans_result_and_a_damaged_one_are_refused(tmp_path):
    write_jsonl(tmp_path / "samples.jsonl", sample_rows(BBH, output(ONE_OF_TWO)))
    replace_json(tmp_path / "result.json", {"plan_hash": "00000000"})
    with pytest.raises(UserError, match="holds plan 00000000"):
        finished_result(BBH, tmp_path)
    (tmp_path / "result.json").write_text('{"accuracy": 0.', encoding="utf-8")
    with pytest.raises(UserError, match=r"result\.json is not a JSON object \(.*; move its folder away"):
        finished_result(BBH, tmp_path)


def model_folder(folder, task, correct, first_row=0):
    rows = [
        {"subset": "all", "row": row, "doc_sha256": f"doc {row}", "correct": {"none": one}}
        for row, one in enumerate(correct, start=first_row)
    ]
    (folder / task).mkdir(parents=True)
    write_jsonl(folder / task / "samples.jsonl", rows)
    replace_json(folder / task / "result.json", {"plan": {"task": {"name": "mmlu", "filter": "none"}}})
    return folder


def test_pairs_are_counted_question_by_question(tmp_path):
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True, True, True, True, False, False])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True, False, False, False, False, False])
    ((task, one),) = compare(before, after)
    assert (task, one.n_pairs, one.only_before, one.only_after) == ("mmlu", 6, 3, 0)
    assert (one.before, one.after) == (4 / 6, 1 / 6)
    assert one.p == one.p_holm == 0.25  # three changed pairs, all one way: 2 * (1/2)^3
    assert (one.difference, one.low, one.high) == adjusted_mean([0, -1, -1, -1, 0, 0], (-1.0, 1.0))


def test_only_tasks_that_both_finished_with_one_plan_are_compared(tmp_path):
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True])
    model_folder(before, "mmlu-11111111", [True])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True])
    model_folder(after, "mmlu-22222222", [True])
    assert len(compare(before, after)) == 1


def test_samples_of_other_questions_are_refused(tmp_path):
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True, False])
    after = model_folder(tmp_path / "b", "mmlu-00000000", [True, False], first_row=1)
    with pytest.raises(UserError, match="hold samples of other questions"):
        compare(before, after)


def test_a_damaged_sample_is_named(tmp_path):
    before = model_folder(tmp_path / "a", "mmlu-00000000", [True])
    write_jsonl(before / "mmlu-00000000" / "samples.jsonl", [{"subset": "all", "row": 0}])
    with pytest.raises(UserError, match=r"samples\.jsonl: a row without 'doc_sha256'"):
        compare(before, before)
