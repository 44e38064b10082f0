from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.utility.local_files import check_files
from cada_trl.evals.utility.task import load_task

from .conftest import SMALL, small_task


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("gsm8k", ["gsm8k/test.jsonl"]),
        ("bbh", ["bbh/boolean_expressions.json", "bbh/navigate.json"]),
        ("mmlu", ["mmlu/dev.parquet", "mmlu/test.parquet"]),
    ],
)
def test_every_file_that_is_read_is_known_by_its_hash(name: str, files: list[str], data_root: Path) -> None:
    found = check_files(small_task(name), data_root)
    assert found == {file: hashlib.sha256((data_root / file).read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu"])
def test_the_published_sets_pass(name: str, shared_data: Path) -> None:
    assert check_files(load_task(name), shared_data)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_root=.*/absent is not a folder; expected one with gsm8k/test.jsonl"):
        check_files(small_task("gsm8k"), tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "file"),
    [("gsm8k", "gsm8k/test.jsonl"), ("bbh", "bbh/navigate.json"), ("mmlu", "mmlu/dev.parquet")],
)
def test_a_missing_file_is_named(name: str, file: str, data_root: Path) -> None:
    (data_root / file).unlink()
    with pytest.raises(UserError, match=f"{name}: no file .*/{file}; get it from https://github.com/"):
        check_files(small_task(name), data_root)


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu"])
def test_another_number_of_rows_than_published_is_refused(name: str, data_root: Path) -> None:
    last = list(SMALL[name])[-1]
    more = {**SMALL[name], last: SMALL[name][last] + 1}
    task = small_task(name).model_copy(update={"subsets": more})
    with pytest.raises(UserError, match=f"{name}: {SMALL[name][last]} rows of {last} in .* the published {more[last]}"):
        check_files(task, data_root)


def test_too_few_examples_are_refused(data_root: Path) -> None:
    task = small_task("mmlu").model_copy(update={"num_fewshot": 6})
    with pytest.raises(UserError, match=r"5 examples of anatomy in .*; expected at least 6"):
        check_files(task, data_root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Which?"}, "row 3: 'answer' is 'None'; expected text"),
        ({"question": " ", "answer": "#### 1"}, "row 3: 'question' is ' '; expected text"),
    ],
)
def test_a_row_without_a_column_is_named(row: dict[str, str], message: str, data_root: Path) -> None:
    path = data_root / "gsm8k" / "test.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()[:2]
    path.write_text("\n".join([*lines, json.dumps(row)]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        check_files(small_task("gsm8k"), data_root)


@pytest.mark.parametrize(("column", "value"), [("choices", ["w", "x", "y"]), ("answer", 4), ("subject", None)])
def test_a_row_that_is_no_question_with_four_choices_is_named(column: str, value: object, data_root: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import read_table, write_table

    path = data_root / "mmlu" / "test.parquet"
    rows = read_table(path).to_pylist()
    rows[1][column] = value
    write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(UserError, match=f"test.parquet, row 2: '{column}' is "):
        check_files(small_task("mmlu"), data_root)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("bbh/navigate.json", '{"rows": []}', "navigate.json is no JSON object with rows under 'examples'"),
        ("bbh/navigate.json", "{", "navigate.json is no JSON object with rows under 'examples'"),
        ("bbh/navigate.json", '{"examples": 1}', "'examples' holds a int; expected the list of rows"),
        ("bbh/navigate.json", '{"examples": [1]}', "row 1: 'input' is 'None'; expected text"),
        ("gsm8k/test.jsonl", "{", "test.jsonl, row 1: not JSON"),
        ("mmlu/test.parquet", "{", "test.parquet cannot be read as parquet"),
    ],
)
def test_a_file_of_another_kind_is_named(file: str, text: str, message: str, data_root: Path) -> None:
    (data_root / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        check_files(small_task(file.split("/", maxsplit=1)[0]), data_root)
