"""The objective by hand: the loss of two rollouts of two tokens and one, the KL estimators, the truncated weights."""

import math

import pytest
import torch

from cada_trl.algo.objective import cada_loss, k1_bt, k2_bt, k3_bt, reward_penalty_bt, steered_beta, truncated_weights

LOGP = torch.tensor([[-1.0, -2.0], [-4.0, -9.0]])
MASK = torch.tensor([[1, 1], [1, 0]])
ADVANTAGE = torch.tensor([0.5, -1.0])
HALF = torch.tensor([0.5, 0.5])
KL = torch.tensor([[0.3, 0.1], [0.2, 7.0]])


PENALTY = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
IMPORTANCE = torch.tensor([[2.0, 0.5], [3.0, 9.0]])


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        ({}, 0.75 - 2.0),  # each log-probability times its advantage: 0.5 * (-0.5 * -3) + 0.5 * (1 * -4)
        ({"logp": "mean"}, 0.375 - 2.0),  # divided by each rollout's own length
        ({"kl_bt": KL}, -1.25 + 0.03),  # beta times the unmasked tokens: 0.1 * (0.5 * 0.4 + 0.5 * 0.2)
        ({"kl_bt": KL, "beta_kl": torch.tensor([0.1, 1.0])}, -1.25 + 0.12),  # 0.5 * 0.1 * 0.4 + 0.5 * 1 * 0.2
        # each token's advantage is lowered: 0.5 - 0.1, 0.5 - 0.2, -1 - 0.3; 0.5 (0.4 * 1 + 0.3 * 2) + 0.5 * (-1.3 * 4)
        ({"reward_penalty_bt": PENALTY}, 0.5 - 2.6),
        # and each of its terms weighed
        (
            {"reward_penalty_bt": PENALTY, "importance_bt": IMPORTANCE},
            0.5 * (2 * 0.4 + 0.5 * 0.3 * 2) - 0.5 * 3 * 1.3 * 4,
        ),
        # the mean of a row without any token is zero and not NaN
        ({"logp": "mean", "kl_bt": KL, "mask_bt": torch.tensor([[1, 1], [0, 0]])}, 0.5 * (0.75 + 0.02)),
    ],
)
def test_the_loss_of_two_rollouts_is_that_of_the_hand(terms, wanted):
    given = {"mask_bt": MASK, "kl_bt": None, "beta_kl": 0.1, "logp": "sum", **terms}
    assert float(cada_loss(LOGP, advantage_b=ADVANTAGE, weight_b=HALF, **given)) == pytest.approx(wanted)


def test_a_padded_token_gets_no_gradient():
    logp_bt = LOGP.clone().requires_grad_()
    cada_loss(logp_bt, MASK, ADVANTAGE, HALF, KL, 0.1, "sum").backward()
    assert logp_bt.grad is not None
    assert float(logp_bt.grad[1, 1]) == 0.0


def test_a_rollout_of_weight_zero_adds_nothing_and_gets_no_gradient():
    logp_bt = LOGP.clone().requires_grad_()
    loss = cada_loss(logp_bt, MASK, ADVANTAGE, torch.tensor([1.0, 0.0]), KL, 0.1, "sum")
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1.5 + 0.04)
    assert logp_bt.grad is not None
    assert logp_bt.grad.tolist() == [[-0.5, -0.5], [0.0, 0.0]]


def test_two_micro_batches_add_up_to_the_whole_step():
    whole = cada_loss(LOGP, MASK, ADVANTAGE, HALF, KL, 0.1, "sum")
    parts = [cada_loss(LOGP[b], MASK[b], ADVANTAGE[b], HALF[b], KL[b], 0.1, "sum") for b in (slice(0, 1), slice(1, 2))]
    assert float(sum(parts)) == pytest.approx(float(whole))


# A rollout of six tokens and one of two, each token of another power of two, so that none can stand for another.
LONG_LOGP = -torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
LONG_MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])


def test_the_first_token_of_each_completion_is_weighed_in_reward_and_kl():
    args = (LONG_LOGP, LONG_MASK, torch.tensor([1.0, -1.0]), HALF)
    # rewards 10 * 1 + 2 + 4 + 8 + 16 + 32 and -(10 * 1 + 2)
    assert float(cada_loss(*args, None, 0.1, "sum", first_tok_weight=10.0)) == pytest.approx(0.5 * 72 - 0.5 * 12)
    # and 0.1 of the KL: 10 + 5 and 10 + 1 tokens of one nat each
    loss = cada_loss(*args, torch.ones(2, 6), 0.1, "sum", first_tok_weight=10.0)
    assert float(loss) == pytest.approx(30.0 + 0.5 * 1.5 + 0.5 * 1.1)


def test_the_mean_divides_the_weighed_sum_by_the_number_of_tokens():
    loss = cada_loss(LONG_LOGP, LONG_MASK, torch.tensor([1.0, -1.0]), HALF, None, 0.1, "mean", first_tok_weight=10.0)
    assert float(loss) == pytest.approx(0.5 * 72 / 6 - 0.5 * 12 / 2)


def test_a_weight_of_one_for_the_first_token_is_the_papers_loss():
    args = (LONG_LOGP, LONG_MASK, ADVANTAGE, HALF, None, 0.1, "sum")
    assert float(cada_loss(*args, first_tok_weight=1.0)) == float(cada_loss(*args)) == pytest.approx(15.75 - 1.5)


def test_neither_the_penalty_nor_the_importance_in_an_advantage_gets_a_gradient():
    logp_bt, penalty_bt = LOGP.clone().requires_grad_(), torch.ones(2, 2, requires_grad=True)
    importance_bt, advantage_b = torch.ones(2, 2, requires_grad=True), ADVANTAGE.clone().requires_grad_()
    cada_loss(logp_bt, MASK, advantage_b, HALF, None, 0.1, "sum", penalty_bt, importance_bt).backward()
    assert logp_bt.grad is not None
    assert (penalty_bt.grad, importance_bt.grad, advantage_b.grad) == (None, None, None)


POLICY_LOGP = torch.tensor([[math.log(0.5), math.log(0.2)]], dtype=torch.float64)
REF_LOGP = torch.tensor([[math.log(0.25), math.log(0.4)]], dtype=torch.float64)
LN2 = math.log(2.0)


@pytest.mark.parametrize(
    ("estimate", "nats"),
    [
        (k1_bt, [LN2, -LN2]),  # the log-ratio
        (k2_bt, [LN2**2 / 2, LN2**2 / 2]),  # half its square
        (k3_bt, [0.5 - 1 + LN2, 2.0 - 1 - LN2]),  # the inverse ratio less one, and the log-ratio
    ],
)
def test_the_estimators_of_the_kl_are_those_of_the_hand(estimate, nats):
    assert estimate(POLICY_LOGP, REF_LOGP)[0].tolist() == pytest.approx(nats)


def test_k3_keeps_its_digits_where_policy_and_reference_nearly_agree():
    log_ratio = torch.full((1, 1), 1e-6, dtype=torch.float64)
    assert float(k3_bt(log_ratio, torch.zeros(1, 1))) == pytest.approx(0.5e-12, rel=1e-3)


@pytest.mark.parametrize(
    ("to_go", "penalty"), [(False, [[7.0, 7.0, 7.0], [3.0, 3.0, 0.0]]), (True, [[7.0, 6.0, 4.0], [3.0, 2.0, 0.0]])]
)
def test_the_penalty_gives_a_token_the_whole_cost_or_the_cost_from_it_on(to_go, penalty):
    logp_bt, mask_bt = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 9.0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert reward_penalty_bt(logp_bt, torch.zeros(2, 3), mask_bt, to_go).tolist() == penalty


def test_the_penalty_carries_no_gradient():
    logp_bt = torch.zeros(1, 2, requires_grad=True)
    assert not reward_penalty_bt(logp_bt, torch.ones(1, 2), torch.ones(1, 2), to_go=True).requires_grad


@pytest.mark.parametrize(
    ("kl_nats", "target_nats", "factor"),
    [
        (2.2, 2.0, 1.01),  # error 2.2/2 - 1 = 0.1
        (8.0, 2.0, 1.02),  # 8/2 - 1 = 3, cut to 0.2
        (0.0, 2.0, 0.98),  # 0 - 1, cut to -0.2
        (math.nan, 2.0, 1.0),
        (50.0, None, 1.0),
    ],
)
def test_beta_moves_by_a_tenth_of_the_clipped_relative_error_where_there_is_a_target_and_a_measure(
    kl_nats, target_nats, factor
):
    assert steered_beta(0.3, kl_nats, target_nats) == pytest.approx(0.3 * factor, rel=1e-12)


NAN = math.nan
# ratios: 1, 2, 8, unknown / 0.5, then a pad with nonsense in it
TRAINER = torch.tensor([[-1.0, -1.0, -1.0, -1.0], [-2.0, -3.0, -3.0, -3.0]])
SAMPLER = torch.tensor([[-1.0, -1.0 - math.log(2), -1.0 - math.log(8), NAN], [-2.0 + math.log(2), NAN, 99.0, -99.0]])
REAL = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])


def test_a_weight_is_the_ratio_of_trainer_to_sampler_up_to_the_cap():
    weight_bt = truncated_weights(TRAINER, SAMPLER, REAL, 3.0).weight_bt
    assert weight_bt.tolist() == [pytest.approx([1.0, 2.0, 3.0, 0.0]), pytest.approx([0.5, 0.0, 0.0, 0.0])]


def test_the_capped_and_the_unknown_tokens_are_counted_and_pads_are_not():
    mismatch = truncated_weights(TRAINER, SAMPLER, REAL, 3.0)
    assert mismatch.capped_bt.tolist() == [[False, False, True, False], [False] * 4]
    assert mismatch.missing_bt.tolist() == [[False, False, False, True], [False] * 4]
    gaps = [[0.0, math.log(2), math.log(8), 0.0], [math.log(2), 0.0, 0.0, 0.0]]
    assert mismatch.gap_bt.tolist() == [pytest.approx(row, abs=1e-6) for row in gaps]


def test_equal_programs_change_nothing():
    weight_bt = truncated_weights(TRAINER, TRAINER, REAL, 3.0).weight_bt
    assert torch.equal(weight_bt, REAL.float())


def test_a_weight_has_no_gradient_of_its_own():
    logp_bt = TRAINER.clone().requires_grad_()
    weight_bt = truncated_weights(logp_bt, SAMPLER, REAL, 3.0).weight_bt
    assert not weight_bt.requires_grad
    # gradient of -A * w * logp is -A * w, not that of the ratio's product
    loss = cada_loss(logp_bt, REAL, torch.tensor([1.0, -1.0]), torch.ones(2), None, 0.0, "sum", importance_bt=weight_bt)
    loss.backward()
    assert logp_bt.grad is not None
    assert logp_bt.grad.tolist() == [pytest.approx([-1.0, -2.0, -3.0, 0.0]), pytest.approx([0.5, 0.0, 0.0, 0.0])]


def test_the_kl_is_not_weighted():
    kl_bt = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 9.0, 9.0, 9.0]])
    nothing = torch.zeros_like(kl_bt)
    loss = cada_loss(TRAINER, REAL, torch.ones(2), torch.ones(2), kl_bt, 2.0, "sum", importance_bt=nothing)
    assert float(loss) == pytest.approx(2.0 * 1.5)


@pytest.mark.parametrize("offset", [-0.5, 0.5])
def test_an_offset_of_the_sampler_is_the_same_factor_everywhere(offset):
    weight_bt = truncated_weights(TRAINER, TRAINER - offset, REAL, 10.0).weight_bt
    assert weight_bt[REAL.bool()].tolist() == pytest.approx([math.exp(offset)] * 5)
