import json
import os
from contextlib import suppress
from shutil import rmtree

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.folder import verdict_file
from cada_trl.report.records import UtilityRecord, read_evaluation, read_record, read_sweep
from cada_trl.storage.files import read_json
from tests.report.made_up_evaluation import RefusedJudge, answers_most, write_evaluation
from tests.report.made_up_run import change_manifest, seal
from tests.report.made_up_sweep import write_record, write_sweep
from tests.report.made_up_utility import write_utility


def damage(file, text):
    """None takes it away."""
    file.unlink() if text is None else file.write_text(text)


def refused(folder, message):
    with pytest.raises(UserError) as caught:
        read_record(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_no_kind_and_a_damaged_sweep_are_one_line(tmp_path):
    refused(tmp_path, "is no folder of a run, an evaluation or a utility result")
    (tmp_path / "sweep.json").write_text('{"cells": [')
    refused(tmp_path, "sweep.json is not a JSON object")
    (tmp_path / "sweep.json").write_text('{"cells": []}')
    refused(tmp_path, "the sweep's command writes it anew")


def test_a_label_has_six_digits_of_a_float_and_all_where_two_values_would_look_equal(tmp_path):
    row = {"model": "smollm2", "seed": 0, "state": "to do", "reason": None}
    values = [1.5752479166319562e-06, 0.03, 0.01642372757, 0.01642372758]
    cells = [row | {"axes": {"lr": value, "algo": "cada"}} for value in values]
    folder = write_record(tmp_path / "made-up", {"initial": [], "cells": cells})
    assert [line.partition(",")[0] for line in read_sweep(folder).missing] == [
        "lr=1.57525e-06",
        "lr=0.03",
        "lr=0.01642372757",
        "lr=0.01642372758",
    ]


@pytest.mark.slow
def test_cells_that_two_judges_judged_are_not_set_against_each_other(tmp_path):
    folder = write_sweep(tmp_path)
    rmtree(tmp_path / "evals" / "b0.1-s0")
    write_evaluation(tmp_path / "evals" / "b0.1-s0", answers_most, RefusedJudge())
    with pytest.raises(UserError, match=r"judged by different judges \(phrases-\w+, refused-made-up-1\)"):
        read_sweep(folder)


def test_probes_that_two_judges_judged_stand_in_for_no_evaluation(tmp_path):
    folder = write_sweep(tmp_path, evaluated=False)
    change_manifest(tmp_path / "runs" / "b0.1-s0", judge_id="classifier-1")
    write_evaluation(tmp_path / "evals" / "asr", answers_most, benchmarks=["strongreject"])
    values = read_json(folder / "sweep.json")
    for evaluations in ([], ["evals/asr"]):  # an ASR alone draws no picture
        values["cells"][0]["evaluations"] = evaluations
        write_record(folder, values)
        with pytest.raises(UserError, match=r"judges \(classifier-1, phrases-12345678\); evaluate all by one first"):
            read_sweep(folder)


def test_who_judged_the_probes_matters_to_no_sweep_whose_cells_are_evaluated(tmp_path):
    folder = write_sweep(tmp_path)
    change_manifest(tmp_path / "runs" / "b0.1-s0", judge_id="classifier-1")
    assert len(read_sweep(folder).cells) == 4


def test_rows_whose_manifest_is_gone_cannot_be_checked_and_that_is_said(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text("")
    with suppress(UserError):
        read_record(tmp_path)
    assert f"{tmp_path}: written without hashes of its files" in capsys.readouterr().err


@pytest.fixture
def evaluation(tmp_path):
    return write_evaluation(tmp_path / "evals" / "model-1", answers_most)


def test_a_finished_evaluation_is_read_with_its_scores(before):
    cell = before.scores.cell("strongreject", "none")
    assert cell is not None and cell.headline.successes == 18 and cell.headline.n == 24
    assert before.scores.cell("strongreject", "pap") is None
    assert before.is_transfer("pair") and not before.is_transfer("none")


COMMAND = "python -m cada_trl.evaluate model=smollm2 benchmarks=strongreject,xstest_safe"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("scores.json", None, f"model-1 has no scores.json (state: done); finish the evaluation with: {COMMAND}"),
        ("scores.json", "{", "scores.json is not a JSON object"),
        ("scores.json", '{"format": 1}', "scores.json: scores: judge_id: Field required"),
        ("manifest.json", "[]", "manifest.json is not a JSON object"),
        ("config.yaml", "a: [", "config.yaml, line 1: cannot be read as YAML"),
        ("config.yaml", "- a", "config.yaml holds a list, expected a mapping"),
        ("attempts.jsonl", None, f"model-1 lacks attempts.jsonl; make it again with: {COMMAND}"),
        ("attempts.jsonl", "nonsense\n", "attempts.jsonl, row 1: not a JSON object"),
        ("responses.jsonl", '{"key": 3}\n', "responses.jsonl: response row: field 'key' is 3"),
        ("missing.jsonl", '{"benchmark": 1}\n', "missing.jsonl, row 1: missing row: field 'benchmark' is 1"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named_in_one_line(evaluation, file, text, message):
    damage(evaluation / file, text)
    refused(evaluation, message)


def test_scores_that_are_not_those_of_the_verdicts_are_refused(evaluation):
    values = json.loads((evaluation / "scores.json").read_text())
    values["cells"][0]["total"]["complied"] |= {"successes": 0, "value": 0.0, "low": 0.0, "high": 0.138}
    (evaluation / "scores.json").write_text(json.dumps(values))
    refused(evaluation, "does not hold the scores of this folder's responses and verdicts; make it")


def test_a_line_that_is_being_written_is_left_to_its_writer(evaluation, before):
    path = evaluation / verdict_file(before.scores.judge_id)
    with path.open("a") as file:
        file.write('{"key": "torn')
    size = os.path.getsize(path)
    assert read_evaluation(evaluation).scores == before.scores
    assert os.path.getsize(path) == size


@pytest.fixture
def utility(tmp_path):
    return write_utility(tmp_path / "model-1", {"gsm8k": [True, False]})


def test_finished_and_unfinished_tasks_are_told_apart(utility):
    (utility / "mmlu-11111111" / "definitions").mkdir(parents=True)
    record = read_record(utility)
    assert isinstance(record, UtilityRecord)
    assert [one["task"] for one in record.results] == ["gsm8k"]
    assert record.unfinished == ["mmlu-11111111"]


def test_a_result_edited_since_is_refused(utility):
    seal(utility)
    file = utility / "gsm8k-00000000" / "result.json"
    file.write_text(file.read_text().replace('"value": 0.5', '"value": 0.6'))
    refused(utility, "result.json was edited after it was written")


@pytest.mark.parametrize(
    "accuracy", [None, 0.5, {"value": 0.5}, {"value": 0.5, "low": 0.6, "high": 0.9, "n": 2}, {"value": None, "n": 2}]
)
def test_a_result_without_a_whole_number_is_refused(utility, accuracy):
    file = utility / "gsm8k-00000000" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"accuracy": accuracy}))
    refused(utility, "gsm8k-00000000/result.json is no result of a utility task")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.yaml", "a: [", "config.yaml, line 1: cannot be read as YAML"),
        ("gsm8k-00000000/result.json", "{", "result.json is not a JSON object"),
        ("gsm8k-00000000/result.json", None, "holds no finished task"),
    ],
)
def test_a_file_of_a_utility_folder_that_is_missing_or_damaged_is_named(utility, file, text, message):
    damage(utility / file, text)
    refused(utility, message)
