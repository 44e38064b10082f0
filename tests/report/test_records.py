from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.report.records import UtilityRecord, read_record, read_utility
from tests.report.made_up_utility import write_utility


def test_finished_and_unfinished_tasks_are_told_apart(tmp_path: Path) -> None:
    path = write_utility(tmp_path / "model-1", {"gsm8k": [True, False]})
    (path / "mmlu-11111111" / "definitions").mkdir(parents=True)
    record = read_record(path)
    assert isinstance(record, UtilityRecord)
    assert [one["task"] for one in record.results] == ["gsm8k"]
    assert record.unfinished == ["mmlu-11111111"]


def test_rows_whose_manifest_is_gone_cannot_be_checked_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with suppress(UserError):
        read_record(tmp_path)
    assert f"{tmp_path}: written without hashes of its files" in capsys.readouterr().err


def test_a_folder_without_a_finished_task_is_refused(tmp_path: Path) -> None:
    path = write_utility(tmp_path / "model-1", {"gsm8k": [True]})
    (path / "gsm8k-00000000" / "result.json").unlink()
    with pytest.raises(UserError, match="holds no finished task"):
        read_record(path)


@pytest.mark.parametrize(
    "accuracy", [None, 0.5, {"value": 0.5}, {"value": 0.5, "low": 0.6, "high": 0.9, "n": 2}, {"value": None, "n": 2}]
)
def test_a_result_without_a_whole_number_is_refused(tmp_path: Path, accuracy: object) -> None:
    path = write_utility(tmp_path / "model-1", {"gsm8k": [True]})
    file = path / "gsm8k-00000000" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"accuracy": accuracy}))
    with pytest.raises(UserError, match=r"gsm8k-00000000/result\.json is no result of a utility task") as caught:
        read_utility(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_utility(tmp_path / "model-1", {"gsm8k": [True]})
    (path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml, line 1: cannot be read as YAML"):
        read_utility(path)
    path = write_utility(tmp_path / "model-2", {"gsm8k": [True]})
    (path / "gsm8k-00000000" / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is not a JSON object"):
        read_utility(path)
