"""Estimators and the beta controller by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cada_trl.algo.kl import BetaController, k1_bt, k2_bt, k3_bt, reward_penalty_bt

LOGP = torch.tensor([[math.log(0.5), math.log(0.2)]], dtype=torch.float64)
REF_LOGP = torch.tensor([[math.log(0.25), math.log(0.4)]], dtype=torch.float64)
LN2 = math.log(2.0)


def test_k1_is_the_log_ratio() -> None:
    assert k1_bt(LOGP, REF_LOGP)[0].tolist() == pytest.approx([LN2, -LN2])


def test_k2_is_half_the_squared_log_ratio() -> None:
    assert k2_bt(LOGP, REF_LOGP)[0].tolist() == pytest.approx([LN2**2 / 2, LN2**2 / 2])


def test_k3_is_the_inverse_ratio_minus_one_plus_the_log_ratio() -> None:
    assert k3_bt(LOGP, REF_LOGP)[0].tolist() == pytest.approx([0.5 - 1 + LN2, 2.0 - 1 - LN2])


def test_k3_keeps_its_digits_where_policy_and_reference_nearly_agree() -> None:
    log_ratio = torch.full((1, 1), 1e-6, dtype=torch.float64)
    assert float(k3_bt(log_ratio, torch.zeros(1, 1))) == pytest.approx(0.5e-12, rel=1e-3)


def test_the_sequence_penalty_gives_every_token_the_whole_cost() -> None:
    logp_bt = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 9.0]])
    mask_bt = torch.tensor([[1, 1, 1], [1, 1, 0]])
    penalty_bt = reward_penalty_bt(logp_bt, torch.zeros(2, 3), mask_bt, to_go=False)
    assert penalty_bt.tolist() == [[7.0, 7.0, 7.0], [3.0, 3.0, 0.0]]


def test_the_penalty_to_go_gives_a_token_the_cost_from_it_on() -> None:
    logp_bt = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 9.0]])
    mask_bt = torch.tensor([[1, 1, 1], [1, 1, 0]])
    penalty_bt = reward_penalty_bt(logp_bt, torch.zeros(2, 3), mask_bt, to_go=True)
    assert penalty_bt.tolist() == [[7.0, 6.0, 4.0], [3.0, 2.0, 0.0]]


def test_the_penalty_carries_no_gradient() -> None:
    logp_bt = torch.zeros(1, 2, requires_grad=True)
    assert not reward_penalty_bt(logp_bt, torch.ones(1, 2), torch.ones(1, 2), to_go=True).requires_grad


def test_beta_without_a_target_never_moves() -> None:
    controller = BetaController(0.1, None)
    assert [controller.update(kl) for kl in (0.0, 5.0, 50.0)] == [0.1, 0.1, 0.1]


def test_beta_moves_by_a_tenth_of_the_clipped_relative_error() -> None:
    controller = BetaController(0.1, 2.0)
    # error 2.2/2 - 1 = 0.1; then 8/2 - 1 = 3 cut to 0.2; then 0 - 1 cut to -0.2
    assert controller.update(2.2) == pytest.approx(0.1 * 1.01)
    assert controller.update(8.0) == pytest.approx(0.1 * 1.01 * 1.02)
    assert controller.update(0.0) == pytest.approx(0.1 * 1.01 * 1.02 * 0.98)


def test_a_kl_that_was_not_measured_does_not_move_beta() -> None:
    controller = BetaController(0.1, 2.0)
    assert controller.update(math.nan) == 0.1
