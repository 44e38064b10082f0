"""The loss by hand: two rollouts of two tokens and one."""

from __future__ import annotations

import pytest
import torch

from cada_trl.algo.loss import FIRST_TOK, cada_loss

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


# A rollout of six tokens and one of two, each token of another power of two, so that none can stand for another.
LONG_LOGP = -torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
LONG_MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])


def test_the_first_tokens_of_each_completion_are_weighed_in_reward_and_kl() -> None:
    assert FIRST_TOK == 4
    args = (LONG_LOGP, LONG_MASK, torch.tensor([1.0, -1.0]), HALF)
    # rewards 10 (1 + 2 + 4 + 8) + 16 + 32 and -10 (1 + 2)
    assert float(cada_loss(*args, None, 0.1, "sum", first_tok_weight=10.0)) == pytest.approx(0.5 * 198 - 0.5 * 30)
    # and 0.1 of the KL: 10 * 4 + 2 and 10 * 2 tokens of one nat each
    loss = cada_loss(*args, torch.ones(2, 6), 0.1, "sum", first_tok_weight=10.0)
    assert float(loss) == pytest.approx(84.0 + 0.5 * 4.2 + 0.5 * 2.0)


def test_the_mean_divides_the_weighed_sum_by_the_number_of_tokens() -> None:
    loss = cada_loss(LONG_LOGP, LONG_MASK, torch.tensor([1.0, -1.0]), HALF, None, 0.1, "mean", first_tok_weight=10.0)
    assert float(loss) == pytest.approx(0.5 * 198 / 6 - 0.5 * 30 / 2)


def test_a_weight_of_one_for_the_first_tokens_is_the_papers_loss() -> None:
    args = (LONG_LOGP, LONG_MASK, ADVANTAGE, HALF, None, 0.1, "sum")
    assert float(cada_loss(*args, first_tok_weight=1.0)) == float(cada_loss(*args)) == pytest.approx(15.75 - 1.5)


def test_neither_the_penalty_nor_the_importance_in_an_advantage_gets_a_gradient() -> None:
    logp_bt, penalty_bt = LOGP.clone().requires_grad_(), torch.ones(2, 2, requires_grad=True)
    importance_bt, advantage_b = torch.ones(2, 2, requires_grad=True), ADVANTAGE.clone().requires_grad_()
    cada_loss(logp_bt, MASK, advantage_b, HALF, None, 0.1, "sum", penalty_bt, importance_bt).backward()
    assert logp_bt.grad is not None
    assert (penalty_bt.grad, importance_bt.grad, advantage_b.grad) == (None, None, None)
