from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.folder import verdict_file
from cada_trl.report.records import EvalRecord, read_evaluation, read_record
from tests.report.made_up_evaluation import answers_most, write_evaluation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_evaluation(tmp_path / "evals" / "model-1", answers_most)


def test_a_finished_evaluation_is_read_with_its_scores(before: EvalRecord) -> None:
    cell = before.scores.cell("strongreject", "none")
    assert cell is not None and cell.headline.successes == 18 and cell.headline.n == 24
    assert before.scores.cell("strongreject", "pap") is None
    assert before.is_transfer("pair") and not before.is_transfer("none")


def test_an_evaluation_without_scores_names_the_command_that_finishes_it(folder: Path) -> None:
    (folder / "scores.json").unlink()
    with pytest.raises(UserError) as caught:
        read_record(folder)
    assert str(caught.value) == (
        f"{folder} has no scores.json (state: done); finish the evaluation with: python -m cada_trl.evaluate "
        "model=smollm2 benchmarks=strongreject,xstest_safe"
    )


def test_an_evaluation_that_lacks_a_file_is_one_line(folder: Path) -> None:
    (folder / "attempts.jsonl").unlink()
    with pytest.raises(UserError, match=r"lacks attempts\.jsonl; make it again with: python -m cada_trl.evaluate"):
        read_record(folder)


def test_scores_that_are_not_those_of_the_verdicts_are_refused(folder: Path) -> None:
    values = json.loads((folder / "scores.json").read_text())
    values["cells"][0]["total"]["complied"] |= {"successes": 0, "value": 0.0, "low": 0.0, "high": 0.138}
    (folder / "scores.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="does not hold the scores of this folder's responses and verdicts; make it"):
        read_evaluation(folder)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("scores.json", "{", "scores.json is not a JSON object"),
        ("scores.json", '{"format": 1}', "scores.json: scores: judge_id: Field required"),
        ("manifest.json", "[]", "manifest.json is not a JSON object"),
        ("config.yaml", "a: [", "config.yaml, line 1: cannot be read as YAML"),
        ("config.yaml", "- a", "config.yaml holds a list, expected a mapping"),
        ("attempts.jsonl", "nonsense\n", "attempts.jsonl, row 1: not a JSON object"),
        ("responses.jsonl", '{"key": 3}\n', "responses.jsonl: response row: field 'key' is 3"),
        ("missing.jsonl", '{"benchmark": 1}\n', "missing.jsonl, row 1: missing row: field 'benchmark' is 1"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(UserError) as caught:
        read_record(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("attempts", {"prompt": "another"}, r"attempts\.jsonl, row 1: attempt strongreject/strongreject-000/none"),
        ("verdicts-*", {"judge": "another"}, "a verdict of the judge 'another'"),
    ],
)
def test_an_edited_attempt_and_a_verdict_of_another_judge_are_refused(
    folder: Path, file: str, edit: dict[str, str], message: str
) -> None:
    (path,) = folder.glob(f"{file}.jsonl")
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | edit), *others]) + "\n")
    with pytest.raises(UserError, match=message):
        read_evaluation(folder)


def test_a_line_that_is_being_written_is_left_to_its_writer(folder: Path, before: EvalRecord) -> None:
    path = folder / verdict_file(before.scores.judge_id)
    with path.open("a") as file:
        file.write('{"key": "torn')
    size = os.path.getsize(path)
    assert read_evaluation(folder).scores == before.scores
    assert os.path.getsize(path) == size


def test_a_folder_of_no_kind_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder of a run, an evaluation or a utility result"):
        read_record(tmp_path)
