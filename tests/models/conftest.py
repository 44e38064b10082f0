"""A tokenizer of a few words and a Llama of two layers, built here: no hub, no download."""

import pytest
from end_to_end.tiny_model import TEMPLATE, tiny_model
from training.tiny import SPECIAL, word_tokenizer

from cada_trl.config import ModelConfig

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
