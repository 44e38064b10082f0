"""What makes decoding quick equals transformers' and torch's own, and is on inside its context only; prefixes that are
held once give the same completions as a copy per row, also when rows and prefixes end."""

from types import SimpleNamespace

import pytest
import torch
from end_to_end.tiny_model import tiny_model
from peft import LoraConfig, get_peft_model
from training.tiny import tiny_llama, tiny_of
from transformers import AttentionInterface, DynamicCache
from transformers.models.llama.modeling_llama import eager_attention_forward

from cada_trl.errors import UserError
from cada_trl.models.cpu_decoding import (
    BLOCK_TOK,
    NAME,
    after_prefixes,
    attended,
    decoding_attention,
    grouped_attention,
    growing_cache,
)
from cada_trl.models.sampling import generate_with_shared_prefixes, most_likely


def attention_inputs(n_b, n_h, n_q, n_t):
    """A module, queries [B, h, Q, 8], keys and values of two heads [B, 2, T, 8]."""
    torch.manual_seed(0)
    module = SimpleNamespace(num_key_value_groups=n_h // 2, training=False)
    return module, torch.randn(n_b, n_h, n_q, 8), torch.randn(n_b, 2, n_t, 8), torch.randn(n_b, 2, n_t, 8)


@pytest.mark.parametrize("n_q", [1, 7])
@pytest.mark.parametrize("n_heads", [2, 6])
def test_it_equals_transformers_eager_attention(n_q, n_heads):
    module, query, key, value = attention_inputs(3, n_heads, n_q, 9)
    mask = torch.where(torch.rand(3, 1, n_q, 9) < 0.3, torch.finfo(torch.float32).min, 0.0)
    for its_mask in (mask, None):
        expected, _ = eager_attention_forward(module, query, key, value, its_mask, scaling=0.3)
        got, _ = grouped_attention(module, query, key, value, its_mask, scaling=0.3)
        assert torch.allclose(got, expected, atol=1e-6)


def test_under_autocast_to_bfloat16_a_pads_fully_masked_row_stays_finite():
    module, query, key, value = attention_inputs(1, 4, 3, 3)
    mask = torch.zeros(1, 1, 3, 3)
    mask[:, :, 0] = torch.finfo(torch.float32).min
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, _ = grouped_attention(module, query, key, value.bfloat16(), mask, scaling=0.3)
    expected, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.3)
    assert torch.allclose(got[:, 1:].float(), expected[:, 1:], atol=0.05)
    assert torch.equal(got[:, 0].float(), torch.zeros(1, 4, 8))


def test_two_parts_of_the_keys_are_joined_by_their_denominators():
    _, query, key, value = attention_inputs(1, 2, 5, 9)
    whole, whole_log_sum = attended(query, key, value, None, 0.3)
    first, first_log_sum = attended(query, key[:, :, :4], value[:, :, :4], None, 0.3)
    second, second_log_sum = attended(query, key[:, :, 4:], value[:, :, 4:], None, 0.3)
    log_sums = torch.stack([first_log_sum, second_log_sum])
    assert torch.allclose(log_sums.logsumexp(0), whole_log_sum, atol=1e-5)
    assert torch.allclose((torch.stack([first, second]) * log_sums.softmax(0)[..., None]).sum(0), whole, atol=1e-5)


def test_the_models_own_attention_is_back_after_an_error():
    model = tiny_model()
    with pytest.raises(RuntimeError, match="on purpose"), decoding_attention(model):
        assert model.config._attn_implementation == NAME
        raise RuntimeError("on purpose")
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_transformers_keeps_from_sdpa_keeps_its_own(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(type(model), "_supports_sdpa", False)
    with decoding_attention(model):
        assert model.config._attn_implementation == "sdpa"


def state(n_rows, n_tok):
    return torch.randn(n_rows, 2, n_tok, 4)


@pytest.mark.parametrize("kind", ["llama", "jetmoe", "glm4_moe_lite"])
def test_whatever_its_attention_a_model_decodes_as_it_does_alone_without_a_cache(kind):
    model = tiny_of(kind)
    own_attention = model.config._attn_implementation
    prompts = [[5, 6, 7, 8, 9, 20], [5, 6, 7, 10, 11, 21, 22], [30, 31, 32, 33], [30, 31, 40]]
    alone = []
    for prompt in prompts:
        ids = list(prompt)
        for _ in range(6):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        alone.append(ids[len(prompt) :])
    with decoding_attention(model):
        # the others hold something else than keys and values, or share them in another order
        assert model.config._attn_implementation == (NAME if kind == "llama" else own_attention)
        assert generate_with_shared_prefixes(model, prompts, [0, 0, 1, 1], most_likely, {-1}, [6] * 4) == alone


def test_a_model_that_cannot_go_on_from_what_was_read_is_refused():
    model = tiny_of("mpt")  # its places are counted from the padding
    with pytest.raises(UserError, match=r"^mpt gives other logits than its own where rows go on from a prefix"):
        decoding_attention(model).__enter__()
    assert model.config._attn_implementation != NAME


def test_a_model_is_compared_once_whatever_its_weights_become():
    model = tiny_llama()
    with decoding_attention(model):
        pass
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.inf)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    with decoding_attention(model):
        assert model.config._attn_implementation == NAME and calls == []


def test_it_returns_what_transformers_own_cache_returns():
    torch.manual_seed(0)
    ours, own = growing_cache(), DynamicCache()
    for n_tok in (5, 1, 1, BLOCK_TOK, 1, 3 * BLOCK_TOK, 1):
        keys, values = state(3, n_tok), state(3, n_tok)
        got, expected = ours.update(keys, values, 0), own.update(keys, values, 0)
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
        assert ours.get_seq_length() == own.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == own.get_mask_sizes(1, 0)


def test_rows_that_are_left_out_are_gone_and_repeated_ones_are_copies():
    torch.manual_seed(0)
    cache, keys, values = growing_cache(), state(3, 5), state(3, 5)
    cache.update(keys, values, 0)
    cache.batch_select_indices(torch.tensor([2, 0, 0]))
    more = state(3, 1)
    got, _ = cache.update(more, more, 0)
    assert torch.equal(got, torch.cat([keys[[2, 0, 0]], more], dim=2))


def test_a_new_token_is_written_in_place():
    cache = growing_cache()
    before, _ = cache.update(state(1, 5), state(1, 5), 0)
    after, _ = cache.update(state(1, 1), state(1, 1), 0)
    assert after.data_ptr() == before.data_ptr()


PROMPTS = [[1, 20, 21, 22, 30], [1, 40, 41, 42], [1, 20, 21, 22, 31, 32, 33], [1, 50], [1, 40, 43], [1, 20, 21, 22, 34]]
GROUPS = ["a", "b", "a", "c", "b", "a"]
MODEL = tiny_llama()


def _completions(ends, groups=GROUPS):
    return generate_with_shared_prefixes(MODEL, PROMPTS, groups, most_likely, ends, [8] * len(PROMPTS))


@pytest.mark.parametrize("groups", [GROUPS, list("aaaaaa"), list("abcdef"), list("xyxyxy")])
def test_rows_get_what_they_get_with_a_prefix_of_their_own(groups):
    copied = _completions(set(), groups)
    with decoding_attention(MODEL):
        assert _completions(set(), groups) == copied


def test_rows_and_prefixes_that_end_leave_the_others_as_they_were():
    whole = _completions(set())
    ends = {whole[0][2], whole[1][4], whole[4][1], whole[3][3]}
    copied = _completions(ends)
    assert len({len(ids) for ids in copied}) > 2
    with decoding_attention(MODEL):
        assert _completions(ends) == copied


def test_every_prefix_is_held_once_and_let_go_with_its_last_row():
    with decoding_attention(MODEL), after_prefixes(MODEL, [[1, 20, 21], [1, 40]], [0, 1, 0, 0]) as before:
        assert before.mask_bt.shape == (4, 0)
        assert before.n_tok_b.tolist() == [3, 2, 3, 3]
        held = before.keep.__self__
        assert held._layers[0].keys.shape[0] == 2
        before.keep(torch.tensor([0, 2, 3]))
        assert held._layers[0].keys.shape[0] == 1


def test_a_prefix_passes_no_head_beside_an_adapter_either():
    heads = []
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    with decoding_attention(model):
        model.get_base_model().lm_head.register_forward_hook(lambda *_: heads.append(1))
        with after_prefixes(model, [[1, 20, 21]], [0, 0]) as before:
            assert before.n_tok_b.tolist() == [3, 3] and heads == []


def test_outside_of_our_attention_every_row_has_a_copy():
    with after_prefixes(MODEL, [[1, 20, 21], [1, 40]], [0, 1, 0]) as before:
        assert before.mask_bt.tolist() == [[1, 1, 1], [0, 1, 1], [1, 1, 1]]
        assert before.cache.layers[0].keys.shape[0] == 3


def test_a_model_with_a_sliding_window_keeps_a_copy_per_row():
    model = tiny_llama()
    model.config.sliding_window = 4
    with decoding_attention(model), after_prefixes(model, [[1, 20, 21], [1, 40]], [0, 1, 0]) as before:
        assert before.mask_bt.shape == (3, 3)


def test_our_attention_is_the_plain_one_again_afterwards_and_after_an_error():
    with decoding_attention(MODEL):
        with pytest.raises(ValueError, match="stop"), after_prefixes(MODEL, [[1, 20]], [0]):
            assert AttentionInterface()[NAME] is not grouped_attention
            raise ValueError("stop")
        assert AttentionInterface()[NAME] is grouped_attention
