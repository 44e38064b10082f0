import pytest

from cada_trl.document.render import html, markdown
from cada_trl.errors import UserError
from cada_trl.report.records import read_utility
from cada_trl.report.results_part import utility_part
from tests.report.made_up_utility import write_utility

LLAMA = {"name": "llama3", "source": "hub", "path": "meta-llama/Meta-Llama-3-8B-Instruct", "dtype": "bfloat16"}


def test_a_row_says_how_much_was_asked_and_how(tmp_path):
    record = read_utility(write_utility(tmp_path / "model-1", {"gsm8k": [True, True, True, False]}))
    part = utility_part([record])
    assert "| GSM8K | model-1 | 75.0 % (30.1 to 95.4; n 4) | 4 of 10 | 75.0 ± 21.7 |" in markdown(part)
    assert "0-shot, chat template, flexible-extract, 2 prompts cut to the context" in html(part)
    assert "only a sample of the questions was asked of GSM8K" in html(part)
    assert "Paper" not in html(part)


def test_an_error_that_lm_eval_does_not_give_is_no_number(tmp_path):
    record = read_utility(write_utility(tmp_path / "model-1", {"gsm8k": [True]}))
    (result,) = record.results
    result["lm_eval"]["stderr"] = None
    assert "| 100.0 ± n/a |" in markdown(utility_part([record]))


def test_two_models_are_compared_question_by_question(tmp_path):
    first = {"gsm8k": [True] * 8 + [False] * 2, "bbh": [True] * 10}
    second = {"gsm8k": [False] * 6 + [True] * 4, "bbh": [True] * 10}
    records = [read_utility(write_utility(tmp_path / name, tasks)) for name, tasks in (("a-1", first), ("b-2", second))]
    part = utility_part(records)
    # 6 were right before only, 2 after only; BBH did not change. With a made-up pair at -1 and at +1 the 12 differences
    # have the mean -1/3 and the error sqrt(10 - 12/9) / 12 = 0.245. p: 2 * (1 + 8 + 28) / 2^8, of two tests
    assert "| -40.0 points (-81.4 to +14.7; 10 questions) | 6 / 2 | 0.289 (0.578) |" in markdown(part)
    (compared,) = part.twin["utility_compared_with_the_first"]
    assert [(one["task"], one["p_holm"]) for one in compared["tasks"]] == [("bbh", 1.0), ("gsm8k", 2 * 74 / 256)]


def test_the_papers_accuracy_stands_beside_a_model_of_the_paper(tmp_path):
    record = read_utility(write_utility(tmp_path / "llama3-1", {"mmlu": [True] * 10, "mmlu_plain": [True] * 10}, LLAMA))
    part = utility_part([record])
    assert "34.2 %" in html(part) and "for orientation" in html(part) and "chat template" in html(part)
    assert markdown(part).count("34.2 %") == 1  # not beside the setting without the template


def test_models_without_a_common_task_are_refused(tmp_path):
    records = [read_utility(write_utility(tmp_path / name, {name: [True]})) for name in ("gsm8k", "bbh")]
    with pytest.raises(UserError, match="no finished task in common"):
        utility_part(records)
