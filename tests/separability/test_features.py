import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from cada_trl.separability.features import BATCH, MAX_CHARS, FrozenModel
from tests.end_to_end.tiny_model import tiny_model, tiny_tokenizer

TEXTS = ["Why?", "How does one polish a ring?", "A long request about nothing at all, really.", "Who is it?"]


def plain_states(text, layers):
    """One text, the whole prompt, no cache."""
    messages = [{"role": "user", "content": text}]
    ids = tiny_tokenizer().apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = tiny_model().eval()(ids, output_hidden_states=True).hidden_states
    return torch.stack([torch.cat([states[layer][0, -1], states[layer][0].mean(0)]) for layer in layers]).numpy()


@pytest.fixture
def frozen():
    return FrozenModel(tiny_model(), tiny_tokenizer())


def test_batches_padding_and_the_shared_beginning_change_nothing(frozen):
    texts = TEXTS * (BATCH // len(TEXTS) + 1)
    found_lnf = frozen.states(texts, [1, 2], "texts")
    assert found_lnf.shape == (2, len(texts), 64)
    for row, text in enumerate(texts):
        assert np.allclose(found_lnf[:, row], plain_states(text, [1, 2]), atol=1e-5)


def test_one_text_is_all_shared_but_its_last_token(frozen):
    assert np.allclose(frozen.states(TEXTS[:1], [2], "text")[:, 0], plain_states(TEXTS[0], [2]), atol=1e-5)


def test_layers_that_are_not_kept_are_not_run_and_the_states_below_stay(frozen):
    before_lnf = frozen.states(TEXTS, [1], "texts")
    top_ran = []
    frozen._decoder.layers[1].register_forward_hook(lambda *_: top_ran.append(True))
    frozen.keep_layers(1)
    assert np.array_equal(frozen.states(TEXTS, [1], "texts"), before_lnf)
    assert not top_ran


def test_a_long_request_is_cut(frozen):
    long = "a" * MAX_CHARS
    states_lnf = frozen.states([long, long + "b" * 50], [2], "texts")
    assert np.allclose(states_lnf[:, 0], states_lnf[:, 1], atol=1e-6)


def test_the_progress_is_said_on_stderr(frozen, capsys):
    frozen.states(TEXTS, [2], "XSTest safe")
    captured = capsys.readouterr()
    assert "states of XSTest safe 4/4" in captured.err
    assert captured.out == ""


def test_where_the_last_norm_has_another_name_no_layer_is_cut_off():
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tiny_tokenizer()), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, num_attention_heads=4, max_position_embeddings=4096))
    frozen = FrozenModel(model, tiny_tokenizer())
    before_lnf = frozen.states(TEXTS, [1], "texts")
    frozen.keep_layers(1)
    assert np.array_equal(frozen.states(TEXTS, [1], "texts"), before_lnf)
