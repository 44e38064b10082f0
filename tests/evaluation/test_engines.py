"""Greedy decoding on a tiny random Llama: the same answers whatever the batch, cut at their ends, given at once.

vLLM on the same token ids: skipped where it is not installed.
"""

from contextlib import closing

import pytest
import torch
from end_to_end.tiny_model import save_tiny_model, tiny_tokenizer
from models.conftest import model_config
from models.plain_decoding import MAX_NEW_TOK, PROMPTS, WHOLE

from cada_trl.errors import UserError
from cada_trl.evaluation import engines
from cada_trl.evaluation.engines import TransformersEngine, batches
from cada_trl.evaluation.model import make_generator
from cada_trl.evaluation.settings import GenerationConfig
from cada_trl.models import cpu_decoding


def engine(folder, batch_tok=1000):
    model = model_config(path=str(folder), context_tok=2048)
    return TransformersEngine(
        model,
        GenerationConfig(backend="transformers", max_new_tok=MAX_NEW_TOK, batch_tok=batch_tok, threads=1),
        tiny_tokenizer(),
        frozenset(),
    )


def test_batches_are_cut_by_the_budget_longest_first():
    # with 10 new tokens: 30 x 1 (40 > 35 alone), 8 + 10 = 18 -> one row of 35, 6 + 10 = 16 -> two, the rest
    assert batches([6, 30, 8, 5, 6], max_new_tok=10, batch_tok=35) == [[1], [2], [0, 4], [3]]
    assert batches([6, 30, 8, 5, 6], max_new_tok=10, batch_tok=1000) == [[1, 2, 0, 4, 3]]
    assert batches([], 10, 35) == []


@pytest.mark.parametrize("batch_tok", [1, 70, 130, 1000])
def test_the_answers_do_not_depend_on_the_batch(tiny, batch_tok):
    answers = list(engine(tiny, batch_tok).complete(PROMPTS))
    assert sorted(answers) == list(enumerate(WHOLE))


def test_the_answers_do_not_depend_on_the_other_prompts_or_their_order(tiny):
    own = engine(tiny)
    assert dict(own.complete([PROMPTS[3], PROMPTS[1]])) == {0: WHOLE[3], 1: WHOLE[1]}
    assert dict(own.complete(PROMPTS[::-1])) == dict(enumerate(WHOLE[::-1]))


def test_attention_is_the_models_own_again_after_an_interrupted_pass(tiny):
    own = engine(tiny, batch_tok=1)
    answers = own.complete(PROMPTS)
    next(answers)
    model = own._model
    assert model.config._attn_implementation == cpu_decoding.NAME
    answers.close()  # an iterator in the protocol, a generator in truth
    assert model.config._attn_implementation == "sdpa"


def test_a_batch_beyond_the_gpus_memory_names_the_setting(tiny, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engines, "continued", full)
    with pytest.raises(UserError, match=r"no GPU memory for 5 sequences at once; lower batch_tok=1000"):
        list(engine(tiny).complete(PROMPTS))


TEXTS = ["Why?", "How old is the Sun?", "Is it far to the Moon from here, would you say?", "And?", "Who wrote this?"]
CHATS = [[{"role": "user", "content": text}] for text in TEXTS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """With heads of 32, the smallest that vLLM's CPU attention knows, and a second end."""
    pytest.importorskip("vllm")
    changes = {"hidden_size": 64, "max_position_embeddings": 512, "eos_token_id": [2, 40]}
    return model_config(path=str(save_tiny_model(tmp_path_factory.mktemp("tiny"), **changes)), context_tok=512)


def generator(model, backend):
    return make_generator(model, GenerationConfig(backend=backend, max_new_tok=24, batch_tok=1000, threads=1))


@pytest.mark.slow
def test_both_backends_write_the_same_and_an_early_stop_leaves_nothing_behind(model):
    with closing(generator(model, "transformers")) as made:
        expected = dict(made.generate(CHATS))
    with closing(generator(model, "vllm")) as made:
        assert dict(made.generate(CHATS)) == expected
        started = made.generate(CHATS)
        next(started)
        started.close()
        assert not made.engine._llm.llm_engine.has_unfinished_requests()
        assert dict(made.generate(CHATS[1:3])) == {0: expected[1], 1: expected[2]}
