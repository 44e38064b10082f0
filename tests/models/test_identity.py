from __future__ import annotations

import hashlib
from pathlib import Path

from end_to_end.tiny_model import save_tiny_model

from cada_trl.models.identity import model_identity
from cada_trl.models.named import named_model


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
