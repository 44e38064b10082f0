"""export: what is refused in one line, the push against a stub of the hub, and the folder, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from cada_trl import export
from cada_trl.errors import UserError
from cada_trl.models.identity import folder_identity
from tests.end_to_end.tiny_model import save_tiny_model
from tests.report.made_up_run import write_run


class StubHub:
    """Writes down what it is asked."""

    asked: list[tuple[str, dict[str, Any]]]

    def create_repo(self, hub_id: str, **values: Any) -> None:
        self.asked.append((hub_id, values))

    def upload_folder(self, **values: Any) -> str:
        self.asked.append((values["repo_id"], values))
        return f"https://hub/{values['repo_id']}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[StubHub]:
    StubHub.asked = []
    monkeypatch.setattr(huggingface_hub, "HfApi", StubHub)
    return StubHub


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one run folder"),
        (["a", "b"], "expected one run folder"),
        (["runs/none"], "no such run folder"),
        (["runs/none", "folder=x"], "folder"),
        (["runs/none", "push=name"], "expected org/name"),
    ],
)
def test_a_wrong_word_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        export.main(words)


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        export.main([str(tmp_path)])


def test_an_unfinished_run_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_steps=1)
    manifest = json.loads((run / "manifest.json").read_text()) | {"exit_state": "interrupted"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"is not finished \(state: interrupted\)"):
        export.main([str(run)])
    assert not (run / "export").exists()


def test_an_existing_folder_is_refused_before_a_weight_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_steps=1)
    with pytest.raises(UserError, match="choose another folder with to="):
        export.main([str(run), f"to={tmp_path}"])


def test_a_push_uploads_the_folder_to_a_private_repository(tmp_path: Path, hub: type[StubHub]) -> None:
    assert export.push(tmp_path, "org/name") == "https://hub/org/name"
    (_, made), (_, uploaded) = hub.asked
    assert made["private"] is True and uploaded["folder_path"] == str(tmp_path)


def test_the_hubs_refusal_is_one_line(tmp_path: Path, hub: type[StubHub], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("401 Unauthorized\nmore")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"cannot push to org/name: 401 Unauthorized; .* is complete"):
        export.push(tmp_path, "org/name")


def test_nothing_is_pushed_unless_asked(tmp_path: Path, hub: type[StubHub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export", lambda run, to, evals: to)
    assert export.main([str(tmp_path)]) == 0
    assert hub.asked == []
    assert export.main([str(tmp_path), "push=org/name"]) == 0
    assert [hub_id for hub_id, _ in hub.asked] == ["org/name", "org/name"]


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
    export.write_model_folder(weights, "card", {"temperature": 0.7}, target)
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
        export.write_model_folder(weights, "card", {}, target)
    assert list(target.iterdir()) == []


def test_a_full_disk_leaves_nothing(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.shutil, "copyfile", full)
    with pytest.raises(UserError, match="No space left on device"):
        export.write_model_folder(weights, "card", {}, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of a tiny model, whose manifest has the hashes of what was saved."""
    folder = write_run(tmp_path / "run", n_steps=1)
    save_tiny_model(folder / "final")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["model"] |= {"context_tok": 2048, "eos": "<eot>", "pad": "<pad>"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    hashed = manifest | {"model": folder_identity(folder / "final")}
    (folder / "manifest.json").write_text(json.dumps(hashed), encoding="utf-8")
    return folder


def test_what_the_run_saved_is_exported(run: Path) -> None:
    assert export.main([str(run)]) == 0
    saved = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["model"]
    assert folder_identity(run / "export")["model.safetensors"] == saved["model.safetensors"]


WEIGHTS = [b"", b"garbage " * 99, None]


@pytest.mark.parametrize("content", WEIGHTS)
@pytest.mark.parametrize(
    ("hashed", "message"), [(True, "model.safetensors is not what the run saved"), (False, "safetensors is damaged: ")]
)
def test_damaged_weights_are_not_exported(run: Path, content: bytes | None, hashed: bool, message: str) -> None:
    file = run / "final" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9] if content is None else content)
    if not hashed:  # a run of before the hashes
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8")) | {"model": None}
        (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        export.main([str(run)])
    assert "\n" not in str(error.value)
    assert not list(run.glob("export*"))


def test_weights_of_the_right_form_and_other_values_are_not_exported(run: Path) -> None:
    file = run / "final" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    with pytest.raises(UserError, match=r"is not what the run saved, as its manifest\.json has it; restore it"):
        export.main([str(run)])
    assert not list(run.glob("export*"))
