"""Truncated importance weights by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cada_trl.algo.loss import cada_loss
from cada_trl.algo.mismatch import truncated_weights

NAN = math.nan
# ratios: 1, 2, 8, unknown / 0.5, then a pad with nonsense in it
LOGP = torch.tensor([[-1.0, -1.0, -1.0, -1.0], [-2.0, -3.0, -3.0, -3.0]])
SAMPLER = torch.tensor([[-1.0, -1.0 - math.log(2), -1.0 - math.log(8), NAN], [-2.0 + math.log(2), NAN, 99.0, -99.0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])


def test_a_weight_is_the_ratio_of_trainer_to_sampler_up_to_the_cap() -> None:
    weight_bt = truncated_weights(LOGP, SAMPLER, MASK, 3.0).weight_bt
    assert weight_bt.tolist() == [pytest.approx([1.0, 2.0, 3.0, 0.0]), pytest.approx([0.5, 0.0, 0.0, 0.0])]


def test_the_capped_and_the_unknown_tokens_are_counted_and_pads_are_not() -> None:
    mismatch = truncated_weights(LOGP, SAMPLER, MASK, 3.0)
    assert mismatch.capped_bt.tolist() == [[False, False, True, False], [False] * 4]
    assert mismatch.missing_bt.tolist() == [[False, False, False, True], [False] * 4]
    gaps = [[0.0, math.log(2), math.log(8), 0.0], [math.log(2), 0.0, 0.0, 0.0]]
    assert mismatch.gap_bt.tolist() == [pytest.approx(row, abs=1e-6) for row in gaps]


def test_equal_programs_change_nothing() -> None:
    weight_bt = truncated_weights(LOGP, LOGP, MASK, 3.0).weight_bt
    assert torch.equal(weight_bt, MASK.float())


def test_a_weight_has_no_gradient_of_its_own() -> None:
    logp_bt = LOGP.clone().requires_grad_()
    weight_bt = truncated_weights(logp_bt, SAMPLER, MASK, 3.0).weight_bt
    assert not weight_bt.requires_grad
    # gradient of -A * w * logp is -A * w, not that of the ratio's product
    loss = cada_loss(logp_bt, MASK, torch.tensor([1.0, -1.0]), torch.ones(2), None, 0.0, "sum", importance_bt=weight_bt)
    loss.backward()
    assert logp_bt.grad is not None
    assert logp_bt.grad.tolist() == [pytest.approx([-1.0, -2.0, -3.0, 0.0]), pytest.approx([0.5, 0.0, 0.0, 0.0])]


def test_the_kl_is_not_weighted() -> None:
    kl_bt = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 9.0, 9.0, 9.0]])
    nothing = torch.zeros_like(kl_bt)
    loss = cada_loss(LOGP, MASK, torch.ones(2), torch.ones(2), kl_bt, 2.0, "sum", importance_bt=nothing)
    assert float(loss) == pytest.approx(2.0 * 1.5)


@pytest.mark.parametrize("offset", [-0.5, 0.5])
def test_an_offset_of_the_sampler_is_the_same_factor_everywhere(offset: float) -> None:
    weight_bt = truncated_weights(LOGP, LOGP - offset, MASK, 10.0).weight_bt
    assert weight_bt[MASK.bool()].tolist() == pytest.approx([math.exp(offset)] * 5)
