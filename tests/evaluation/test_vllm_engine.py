"""vLLM on the same token ids: skipped where it is not installed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm")

import torch
from end_to_end.tiny_model import tiny_tokenizer
from models.conftest import model_config

from cada_trl.config import ModelConfig
from cada_trl.evaluation.model import make_generator
from cada_trl.evaluation.settings import Backend, GenerationConfig

pytestmark = pytest.mark.slow
TEXTS = ["Why?", "How old is the Sun?", "Is it far to the Moon from here, would you say?", "And?", "Who wrote this?"]
CHATS = [[{"role": "user", "content": text}] for text in TEXTS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """As end_to_end.tiny_model, with heads of 32, the smallest that vLLM's CPU attention knows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder: Path = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=[2, 40],
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return model_config(path=str(folder), context_tok=512)


def generator(model: ModelConfig, backend: Backend) -> Any:
    return make_generator(model, GenerationConfig(backend=backend, max_new_tok=24, batch_tok=1000, threads=1))


def test_both_backends_write_the_same_and_an_early_stop_leaves_nothing_behind(model: ModelConfig) -> None:
    with closing(generator(model, "transformers")) as made:
        expected = dict(made.generate(CHATS))
    with closing(generator(model, "vllm")) as made:
        assert dict(made.generate(CHATS)) == expected
        started = made.generate(CHATS)
        next(started)
        started.close()
        assert not made._engine._llm.llm_engine.has_unfinished_requests()
        assert dict(made.generate(CHATS[1:3])) == {0: expected[1], 1: expected[2]}
