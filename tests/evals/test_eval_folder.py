"""The folder: named by content, one process at a time, whole files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.eval_folder import EvalFolder, folder_name, slug

DECIDES = {"model": {"model.safetensors": "ab"}, "asked": [1, 2]}


def test_the_name_is_the_model_and_the_content_in_any_order_of_keys() -> None:
    name = folder_name("my model/7B", DECIDES)
    assert name.startswith("my-model-7B-")
    assert len(name.rsplit("-", 1)[1]) == 8
    assert folder_name("my model/7B", dict(reversed(DECIDES.items()))) == name
    assert folder_name("my model/7B", DECIDES | {"asked": [2, 1]}) != name


@pytest.mark.parametrize(
    ("text", "part"), [("a/b c", "a-b-c"), ("../up", "up"), ("///", "model"), ("v1.5_x", "v1.5_x")]
)
def test_a_slug_is_a_safe_part_of_a_files_name(text: str, part: str) -> None:
    assert slug(text) == part


def test_a_folder_is_held_by_one_and_free_again_afterwards_also_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "evals" / "a"
    with EvalFolder.opened(path, DECIDES), pytest.raises(UserError, match="in use"), EvalFolder.opened(path, DECIDES):
        pass
    with pytest.raises(KeyError), EvalFolder.opened(path, DECIDES):
        raise KeyError
    with EvalFolder.opened(path, DECIDES) as folder:
        assert folder.path == path


def test_another_evaluation_in_its_place_is_refused(tmp_path: Path) -> None:
    with EvalFolder.opened(tmp_path, DECIDES) as folder:
        folder.write_manifest({"exit_state": "done"}, DECIDES)
    with pytest.raises(UserError, match="holds another evaluation"), EvalFolder.opened(tmp_path, {}):
        pass


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "evals").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="choose another evals_dir"), EvalFolder.opened(tmp_path / "evals" / "a", {}):
        pass


def test_json_is_whole_and_never_holds_a_nan(tmp_path: Path) -> None:
    folder = EvalFolder(tmp_path)
    assert folder.read_json("scores.json") == {}
    folder.write_json("scores.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("scores.json", {"a": float("nan")})
    assert folder.read_json("scores.json") == {"a": 1}
    for text in ("[1]", "{", ""):
        (tmp_path / "scores.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="is not a JSON object"):
            folder.read_json("scores.json")
