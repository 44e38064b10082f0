from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from end_to_end.tiny_model import save_tiny_model

from cada_trl.errors import UserError
from cada_trl.models.identity import model_identity
from cada_trl.models.named import named_model

from .conftest import model_config


def test_a_folder_is_its_weights_tokenizer_and_template(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    identity = model_identity(named_model(str(folder)))
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= identity.keys()
    assert identity["config.json"] == hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()


def test_a_moved_folder_is_the_same_model_and_changed_weights_are_another(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    before = model_identity(named_model(str(folder)))
    folder = folder.rename(tmp_path / "moved")
    assert model_identity(named_model(str(folder))) == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    after = model_identity(named_model(str(folder)))
    assert {name for name in before if before[name] != after[name]} == {"model.safetensors"}


@pytest.mark.parametrize("recorded", ["another", None])
@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja", "other.safetensors"])
def test_a_runs_model_that_is_not_what_the_run_saved_is_refused(
    tmp_path: Path, name: str, recorded: str | None
) -> None:
    """recorded: in place of the file's hash; None: the file came later."""
    model = model_config(path=str(save_tiny_model(tmp_path / "final")))
    (tmp_path / "final" / "other.safetensors").write_bytes(b"other")
    saved = model_identity(model)
    (tmp_path / "manifest.json").write_text(json.dumps({"model": saved}), encoding="utf-8")
    assert model_identity(model) == saved
    hashes = {key: value for key, value in (saved | {name: recorded}).items() if value}
    (tmp_path / "manifest.json").write_text(json.dumps({"model": hashes}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"final/{name} is not what the run saved, as its manifest.json has it"):
        model_identity(model)
