from __future__ import annotations

import math
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.utility.folder import held, read_json, write_json


def test_a_file_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_json(path, {"n": 1})
    write_json(path, {"n": 2})
    assert read_json(path) == {"n": 2}
    assert list(path.parent.iterdir()) == [path]


def test_a_value_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", {"accuracy": math.nan})
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_file_that_is_no_json_object_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"result\.json .*move its folder away"):
        read_json(tmp_path / "result.json")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*; free space, fix the permission or choose another folder"):
        write_json(tmp_path / "file" / "result.json", {})
    with pytest.raises(UserError, match="cannot write "), held(tmp_path / "file" / "model"):
        pass


def test_a_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with (
        held(tmp_path / "model"),
        pytest.raises(UserError, match="in use by another process"),
        held(tmp_path / "model"),
    ):
        pass
    with held(tmp_path / "model") as folder:
        assert folder.is_dir()
