"""A model's shape: from the table, from a config.json, and its parameters by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.trainers import SHAPES
from cada_trl.config import CONF_DIR, load_config
from cada_trl.errors import UserError
from cada_trl.planning.shapes import Shape, read_shape, shape_of

MODELS = sorted(file.stem for file in (CONF_DIR / "model").glob("*.yaml"))
SMALL = Shape(vocab=10, hidden=4, layers=2, heads=2, kv_heads=1, head_dim=2, intermediate=6, tied=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_shape_gives_the_parameters_that_the_models_file_states(name: str) -> None:
    model = load_config([f"model={name}"]).model
    assert shape_of(model).n_params == model.n_params


def test_parameters_are_counted_by_hand() -> None:
    # a layer: q and o 4x4, k and v 4x2, three 4x6 matrices, two norms of 4; then a norm, and an embedding of 10x4
    layer = 2 * 16 + 2 * 8 + 3 * 24 + 8
    assert SMALL.n_params == 2 * layer + 4 + 40
    assert SMALL.matmul_params == SMALL.n_params
    # rank 3: q 4+4, k and v 4+2 each, o 4+4, gate, up and down 4+6 each
    assert SMALL.lora_params(3) == 2 * 3 * (8 + 6 + 6 + 8 + 30)


def test_a_config_json_is_read() -> None:
    read = read_shape({**SHAPES["smollm2"], "tie_word_embeddings": True})
    assert read == shape_of(load_config([]).model)


def test_an_older_config_json_has_as_many_key_heads_as_heads() -> None:
    older = {key: value for key, value in SHAPES["smollm2"].items() if key != "num_key_value_heads"}
    assert read_shape(older).kv_heads == SHAPES["smollm2"]["num_attention_heads"]


def test_a_folder_is_described_by_its_own_file_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SHAPES["tiny"]), encoding="utf-8")
    model = load_config(["source=folder", f"path={tmp_path}"]).model
    assert model.name == "smollm2"
    assert shape_of(model).hidden == SHAPES["tiny"]["hidden_size"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "not known here"), ("{}", "does not say"), ("{", "is not a JSON object")]
)
def test_a_folder_without_a_shape_is_one_clear_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        shape_of(load_config(["source=folder", f"path={tmp_path}"]).model)
