"""The exported folder: what is in it, what is not, and that it is there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.exporting import model_folder
from cada_trl.exporting.model_folder import write_model_folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "final"
    folder.mkdir()
    for name in ("model.safetensors", "training_args.bin", "chat_template.jinja", "notes.txt"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "config.json").write_text('{"_name_or_path": "/home/someone", "hidden_size": 2}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"name_or_path": "/home/someone", "eos_token": "x"}')
    (folder / "generation_config.json").write_text('{"eos_token_id": [2]}', encoding="utf-8")
    return folder


def test_only_what_a_user_loads_is_copied_and_no_path_of_the_trainer(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "model"
    write_model_folder(weights, "card", {"temperature": 0.7}, target)
    described = {"config.json", "tokenizer_config.json", "generation_config.json"}
    assert {path.name for path in target.iterdir()} == described | {
        "README.md",
        "model.safetensors",
        "chat_template.jinja",
    }
    assert not [path for path in target.iterdir() if "someone" in path.read_text(encoding="utf-8")]
    assert json.loads((target / "generation_config.json").read_text()) == {"eos_token_id": [2], "temperature": 0.7}


def test_a_folder_that_exists_is_left_alone(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    with pytest.raises(UserError, match="exists; remove it, or choose another folder with to="):
        write_model_folder(weights, "card", {}, target)
    assert list(target.iterdir()) == []


def test_a_full_disk_leaves_nothing(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder.shutil, "copyfile", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_model_folder(weights, "card", {}, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
