"""A tokenizer of a few words and a Llama of two layers, built here: no hub, no download."""

import json

import pytest
import yaml
from end_to_end.tiny_model import TEMPLATE, tiny_model
from training.tiny import SPECIAL, word_tokenizer

from cada_trl.config import ModelConfig, load_config

WORDS = ["How", "far", "is", "the", "Moon", "About", "384", "400", "km", "user", "assistant", "?", ".", ",", ":"]


def tiny_tokenizer(template=TEMPLATE, adds_bos=True):
    return word_tokenizer(WORDS, template, adds_bos)


@pytest.fixture
def model_folder(tmp_path):
    """A saved model whose generation config has defaults of its own, as Llama 3's has."""
    from transformers import GenerationConfig

    shape = {"hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": None}
    model = tiny_model(vocab_size=len(SPECIAL) + len(WORDS), initializer_range=0.02, **shape)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9, eos_token_id=[5, 2])
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def model_config(**changes):
    """The keys of ModelConfig for the tiny model."""
    values = {
        "name": "tiny",
        "source": "folder",
        "path": "tiny",
        "revision": None,
        "gated": False,
        "dtype": "float32",
        "context_tok": 64,
        "eos": "<eot>",
        "pad": "<pad>",
        "n_params": 1000,
        "trust_remote_code": False,
    }
    return ModelConfig(**{**values, **changes})


def describe_run(folder, *overrides, state=None):
    """The configuration of a run in its folder, and how it ended; None: it never said."""
    (folder / "config.yaml").write_text(yaml.safe_dump(load_config([*overrides]).model_dump()), encoding="utf-8")
    if state is not None:
        (folder / "manifest.json").write_text(json.dumps({"exit_state": state}), encoding="utf-8")


def rewrite(path, drop=None, **changes):
    """The JSON file without the keys that hold the word `drop`, and with the changes."""
    values = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if drop is None or drop not in key}
    path.write_text(json.dumps(kept | changes), encoding="utf-8")
