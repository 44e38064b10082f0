"""The loss by hand: two rollouts of two tokens and one."""

from __future__ import annotations

import pytest
import torch

from cada_trl.algo.loss import cada_loss

LOGP = torch.tensor([[-1.0, -2.0], [-4.0, -9.0]])
MASK = torch.tensor([[1, 1], [1, 0]])
ADVANTAGE = torch.tensor([0.5, -1.0])
HALF = torch.tensor([0.5, 0.5])
KL = torch.tensor([[0.3, 0.1], [0.2, 7.0]])


def test_the_sum_weighs_each_rollouts_log_probability_by_its_advantage() -> None:
    # 0.5 * (-0.5 * -3) + 0.5 * (1 * -4)
    assert float(cada_loss(LOGP, MASK, ADVANTAGE, HALF, None, 0.1, "sum")) == pytest.approx(0.75 - 2.0)


def test_the_mean_divides_each_rollout_by_its_own_length() -> None:
    assert float(cada_loss(LOGP, MASK, ADVANTAGE, HALF, None, 0.1, "mean")) == pytest.approx(0.375 - 2.0)


def test_the_kl_term_is_beta_times_the_sum_of_the_unmasked_tokens() -> None:
    # + 0.1 * (0.5 * 0.4 + 0.5 * 0.2)
    assert float(cada_loss(LOGP, MASK, ADVANTAGE, HALF, KL, 0.1, "sum")) == pytest.approx(-1.25 + 0.03)


def test_each_row_can_have_a_weight_of_the_kl_of_its_own() -> None:
    # + 0.5 * 0.1 * 0.4 + 0.5 * 1 * 0.2
    beta_b = torch.tensor([0.1, 1.0])
    assert float(cada_loss(LOGP, MASK, ADVANTAGE, HALF, KL, beta_b, "sum")) == pytest.approx(-1.25 + 0.12)


def test_a_rollout_of_weight_zero_adds_nothing_and_gets_no_gradient() -> None:
    logp_bt = LOGP.clone().requires_grad_()
    loss = cada_loss(logp_bt, MASK, ADVANTAGE, torch.tensor([1.0, 0.0]), KL, 0.1, "sum")
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1.5 + 0.04)
    assert logp_bt.grad is not None
    assert logp_bt.grad.tolist() == [[-0.5, -0.5], [0.0, 0.0]]


def test_the_reward_penalty_lowers_the_advantage_of_each_token() -> None:
    penalty_bt = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    # advantages 0.5 - 0.1, 0.5 - 0.2, -1 - 0.3: 0.5 (0.4 * 1 + 0.3 * 2) + 0.5 * (-1.3 * 4)
    loss = cada_loss(LOGP, MASK, ADVANTAGE, HALF, None, 0.1, "sum", penalty_bt)
    assert float(loss) == pytest.approx(0.5 - 2.6)


def test_a_padded_token_gets_no_gradient() -> None:
    logp_bt = LOGP.clone().requires_grad_()
    cada_loss(logp_bt, MASK, ADVANTAGE, HALF, KL, 0.1, "sum").backward()
    assert logp_bt.grad is not None
    assert float(logp_bt.grad[1, 1]) == 0.0


def test_two_micro_batches_add_up_to_the_whole_step() -> None:
    whole = cada_loss(LOGP, MASK, ADVANTAGE, HALF, KL, 0.1, "sum")
    parts = [cada_loss(LOGP[b], MASK[b], ADVANTAGE[b], HALF[b], KL[b], 0.1, "sum") for b in (slice(0, 1), slice(1, 2))]
    assert float(sum(parts)) == pytest.approx(float(whole))
