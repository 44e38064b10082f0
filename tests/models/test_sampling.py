"""The decoding loop: what a plain loop without cache gives, rows leave when they end, shared prefixes, sampling."""

import pytest
import torch
from training.tiny import EOT, PAD, tiny_llama
from transformers import GenerationConfig, MistralConfig, MistralForCausalLM

from cada_trl.models.sampling import continued, generate_with_shared_prefixes, most_likely, sampled
from models.plain_decoding import MAX_NEW_TOK, MODEL, PROMPTS, WHOLE, one_by_one


def test_each_prompt_is_continued_as_alone_and_without_a_cache():
    ends = frozenset({WHOLE[0][3], WHOLE[2][7]})
    assert dict(continued(MODEL, PROMPTS, most_likely, frozenset(), MAX_NEW_TOK)) == dict(enumerate(WHOLE))
    assert dict(continued(MODEL, PROMPTS, most_likely, ends, MAX_NEW_TOK)) == dict(enumerate(one_by_one(ends)))


def test_a_finished_row_leaves_the_batch_and_is_handed_out_at_once():
    ends = frozenset({WHOLE[0][3]})
    lengths = [len(ids) for ids in one_by_one(ends)]
    rows = []
    hook = MODEL.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        answers = continued(MODEL, PROMPTS, most_likely, ends, MAX_NEW_TOK)
        row, _ = next(answers)
        assert lengths[row] == min(lengths) == len(rows) < MAX_NEW_TOK
        list(answers)
    finally:
        hook.remove()
    assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]


def test_sampling_follows_the_softmax_at_its_temperature():
    torch.manual_seed(0)
    logits_v = torch.tensor([2.0, 1.0, 0.0, -1.0])
    n = 40_000
    drawn = sampled(temperature=0.5)(logits_v.expand(n, 4))
    share_v = torch.bincount(drawn, minlength=4) / n
    # softmax of (4, 2, 0, -2): 0.865, 0.117, 0.016, 0.002; four standard errors of the largest are 0.007
    assert torch.allclose(share_v, (logits_v / 0.5).softmax(-1), atol=0.007)


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    torch.manual_seed(0)
    logits_bv = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4_000, 4)
    drawn = sampled(1.0, top_p=0.7)(logits_bv)
    assert set(drawn.tolist()) == {0, 1}
    assert (drawn == 0).float().mean().item() == pytest.approx(0.625, abs=0.035)  # 0.5 / 0.8


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(RuntimeError, match="not finite"):
        sampled(1.0)(torch.tensor([[0.0, float("nan"), 1.0]]))


def test_sampling_repeats_by_the_seed():
    def draw(seed):
        torch.manual_seed(seed)
        return dict(continued(MODEL, PROMPTS, sampled(1.0), frozenset(), MAX_NEW_TOK))

    assert draw(1) == draw(1) != draw(2)


SHARING = [[1, 20, 21, 22, 30], [1, 20, 21, 22, 31, 32, 33], [1, 40, 41, 42], [1, 40, 43], [1, 50]]
GREEDY = GenerationConfig(do_sample=False, max_new_tokens=6, pad_token_id=PAD, eos_token_id=EOT)


def _plain(prompt):
    """What transformers' own generate says to the prompt alone."""
    ids = torch.tensor([prompt])
    output = tiny_llama().generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=GREEDY)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("groups", ["aabbc", "aaaaa", "abcde", "xyxyx"])
def test_every_row_gets_what_it_gets_alone(groups):
    completions = generate_with_shared_prefixes(tiny_llama(), SHARING, list(groups), most_likely, {EOT}, [6] * 5)
    assert completions == [_plain(prompt) for prompt in SHARING]


def test_each_row_is_cut_at_its_own_number_of_tokens():
    most = [6, 2, 6, 2, 1]
    completions = generate_with_shared_prefixes(tiny_llama(), SHARING, list("aabbc"), most_likely, {EOT}, most)
    assert completions == [_plain(prompt)[:n] for prompt, n in zip(SHARING, most, strict=True)]


def test_equal_prompts_keep_their_last_token_out_of_the_prefix():
    completions = generate_with_shared_prefixes(tiny_llama(), [SHARING[0]] * 3, "aaa", most_likely, {EOT}, [6] * 3)
    assert completions == [_plain(SHARING[0])] * 3


@pytest.mark.parametrize(("most", "steps"), [([1] * 8, [(8, 3)]), ([1] * 6 + [2] * 2, [(8, 3), (2, 1)])])
def test_a_group_runs_its_prefix_once_whatever_its_rows_lengths(most, steps):
    model, n_tok = tiny_llama(), []
    model.base_model.register_forward_pre_hook(
        lambda _, __, kwargs: n_tok.append(kwargs["input_ids"].shape if "input_ids" in kwargs else None),
        with_kwargs=True,
    )
    generate_with_shared_prefixes(model, SHARING[:2] * 4, "aaaaaaaa", most_likely, set(), most)
    assert n_tok == [(1, 4), *steps]  # [1, 20, 21, 22] once, then what is left of the eight


def test_rows_of_a_model_with_a_window_shorter_than_they_are_are_sampled_as_alone():
    torch.manual_seed(0)
    window = MistralConfig(
        **{"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "sliding_window": 6},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.5},
    )
    model = MistralForCausalLM(window).eval()
    prompts = [[*range(5, 15), 20], [*range(5, 15), 20, 21, 22, 23, 24], [*range(5, 15), 30, 31]]
    alone = [next(continued(model, [prompt], most_likely, frozenset(), 8))[1] for prompt in prompts]
    together = generate_with_shared_prefixes(model, prompts, [0, 0, 0], most_likely, frozenset(), [8, 8, 8])
    assert together == alone
