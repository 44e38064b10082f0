"""The decoding loop: what a plain loop without cache says, rows that leave when they end, sampling as stated."""

from __future__ import annotations

import pytest
import torch

from cada_trl.models.continuation import continued, most_likely, sampled
from models.plain_decoding import MAX_NEW_TOK, MODEL, PROMPTS, WHOLE, one_by_one


def test_each_prompt_is_continued_as_alone_and_without_a_cache() -> None:
    ends = frozenset({WHOLE[0][3], WHOLE[2][7]})
    assert dict(continued(MODEL, PROMPTS, most_likely, frozenset(), MAX_NEW_TOK)) == dict(enumerate(WHOLE))
    assert dict(continued(MODEL, PROMPTS, most_likely, ends, MAX_NEW_TOK)) == dict(enumerate(one_by_one(ends)))


def test_a_finished_row_leaves_the_batch_and_is_handed_out_at_once() -> None:
    ends = frozenset({WHOLE[0][3]})
    lengths = [len(ids) for ids in one_by_one(ends)]
    rows: list[int] = []
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


def test_sampling_follows_the_softmax_at_its_temperature() -> None:
    torch.manual_seed(0)
    logits_v = torch.tensor([2.0, 1.0, 0.0, -1.0])
    n = 40_000
    drawn = sampled(temperature=0.5)(logits_v.expand(n, 4))
    share_v = torch.bincount(drawn, minlength=4) / n
    # softmax of (4, 2, 0, -2): 0.865, 0.117, 0.016, 0.002; four standard errors of the largest are 0.007
    assert torch.allclose(share_v, (logits_v / 0.5).softmax(-1), atol=0.007)


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    torch.manual_seed(0)
    logits_bv = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4_000, 4)
    drawn = sampled(1.0, top_p=0.7)(logits_bv)
    assert set(drawn.tolist()) == {0, 1}
    assert (drawn == 0).float().mean().item() == pytest.approx(0.625, abs=0.035)  # 0.5 / 0.8


def test_sampling_repeats_by_the_seed() -> None:
    def draw(seed: int) -> dict[int, list[int]]:
        torch.manual_seed(seed)
        return dict(continued(MODEL, PROMPTS, sampled(1.0), frozenset(), MAX_NEW_TOK))

    assert draw(1) == draw(1) != draw(2)
