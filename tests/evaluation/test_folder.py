"""The folder: named by content, one process at a time, a manifest that says how the call ended."""

import json
from contextlib import contextmanager

import pytest

from cada_trl.config.loading import Section
from cada_trl.errors import UserError
from cada_trl.evaluation.folder import EvaluationFolder, folder_name, slug

DECIDES = {"model": {"model.safetensors": "ab"}, "asked": [1, 2]}


class Settings(Section):
    limit: int = 3


@contextmanager
def opened(path, decides=DECIDES):
    with EvaluationFolder.opened(path, decides, Settings(), {"judge_id": "phrases-1"}) as folder:
        yield folder


def manifest(path):
    values = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    return values


def test_the_name_is_the_model_and_the_content_in_any_order_of_keys():
    name = folder_name("my model/7B", DECIDES)
    assert name.startswith("my-model-7B-")
    assert len(name.rsplit("-", 1)[1]) == 8
    assert folder_name("my model/7B", dict(reversed(DECIDES.items()))) == name
    assert folder_name("my model/7B", DECIDES | {"asked": [2, 1]}) != name


@pytest.mark.parametrize(
    ("text", "part"), [("a/b c", "a-b-c"), ("../up", "up"), ("///", "model"), ("v1.5_x", "v1.5_x")]
)
def test_a_slug_is_a_safe_part_of_a_files_name(text, part):
    assert slug(text) == part


def test_a_folder_is_held_by_one_and_free_again_afterwards_also_after_an_error(tmp_path):
    path = tmp_path / "evals" / "a"
    with opened(path), pytest.raises(UserError, match="in use"), opened(path):
        pass
    with pytest.raises(KeyError), opened(path):
        raise KeyError("what broke")
    assert manifest(path)["exit_state"] == "failed: 'what broke'"
    with opened(path) as folder:
        assert folder.path == path
        assert manifest(path)["exit_state"] == "running"
    assert manifest(path)["exit_state"] == "done"


def test_the_folder_keeps_the_configuration_and_adds_up_the_time_of_each_pass(tmp_path):
    for _ in range(2):
        with opened(tmp_path) as folder, folder.timed("responses"):
            folder.manifest["pass_wall_s"]["responses"] = folder.manifest["pass_wall_s"].get("responses", 0.0) + 5.0
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "limit: 3\n"
    assert manifest(tmp_path)["pass_wall_s"] == {"responses": 10.0}
    assert manifest(tmp_path)["judge_id"] == "phrases-1"


def test_another_evaluation_in_its_place_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(UserError, match="holds another evaluation"), opened(tmp_path, {}):
        pass


def test_an_absent_file_is_empty_and_a_damaged_one_is_to_be_written_anew(tmp_path):
    folder = EvaluationFolder(tmp_path)
    assert folder.read_json("scores.json") == {}
    folder.write_json("scores.json", {"a": 1})
    assert folder.read_json("scores.json") == {"a": 1}
    (tmp_path / "scores.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="delete it: it is written anew from the other files"):
        folder.read_json("scores.json")
