"""Expected gradients by enumeration: three tokens, two places, nine sequences, float64, no sampling.

theta_vc holds the policy's logits: column 0 for the first token, column 1 + a for the token after a. Its sequences are
weighted by their own probability, so that the loss is the expectation over the policy's samples.
"""

import itertools

import pytest
import torch

from cada_trl.algo.baseline import RunningMean, centred_b
from cada_trl.algo.objective import cada_loss, k1_bt, k2_bt, k3_bt, reward_penalty_bt
from cada_trl.algo.scores import token_scores

SEQUENCES = torch.tensor(list(itertools.product(range(3), repeat=2)))
CONTEXTS = torch.stack([torch.zeros(9, dtype=torch.long), 1 + SEQUENCES[:, 0]], dim=1)
MASK = torch.ones(9, 2)
GENERATOR = torch.Generator().manual_seed(0)
THETA = torch.randn(3, 4, generator=GENERATOR, dtype=torch.float64)
REFERENCE = torch.randn(3, 4, generator=GENERATOR, dtype=torch.float64)
REWARD = torch.tensor([-1.0, 0.0, 1.0, 1.0, -1.0, -1.0, 0.0, 1.0, -1.0], dtype=torch.float64)
NO_REWARD = torch.zeros(9, dtype=torch.float64)
BETA = 0.3


def _scores(theta_vc):
    hidden_nc = torch.eye(4, dtype=torch.float64)[CONTEXTS.flatten()]
    return token_scores(hidden_nc, theta_vc, SEQUENCES.flatten(), 1.0, hidden_nc, REFERENCE, exact_kl=True)


def _bt(value_n):
    assert value_n is not None
    return value_n.view(9, 2)


def _prob_b(theta_vc):
    logp_cv = theta_vc.T.log_softmax(dim=1)
    return (logp_cv[0][SEQUENCES[:, 0]] + logp_cv[1 + SEQUENCES[:, 0], SEQUENCES[:, 1]]).exp()


def _gradient(objective):
    theta_vc = THETA.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(theta_vc), theta_vc)
    return gradient


def _expected_reward(theta_vc):
    return (_prob_b(theta_vc) * REWARD).sum()


def _sequence_kl(theta_vc):
    """KL(policy || reference) of whole sequences; later tokens' KL counts for the earlier choice."""
    return (_prob_b(theta_vc) * (_prob_b(theta_vc) / _prob_b(REFERENCE)).log()).sum()


def _token_kl(first, second):
    """Sum of KL(first || second) at each place; prefixes come from the policy but are taken as given."""

    def kl(theta_vc):
        log_a_cv, log_b_cv = (pick(theta_vc).T.log_softmax(dim=1) for pick in (first, second))
        kl_c = (log_a_cv.exp() * (log_a_cv - log_b_cv)).sum(dim=1)
        first_token_prob = THETA[:, 0].softmax(dim=0)
        return kl_c[0] + first_token_prob @ kl_c[1:]

    return kl


_reverse_token_kl = _token_kl(lambda theta: theta, lambda _: REFERENCE)
_forward_token_kl = _token_kl(lambda _: REFERENCE, lambda theta: theta)


def _loss(reward_b, kl, kl_in):
    def loss(theta_vc):
        scores = _scores(theta_vc)
        logp_bt, ref_logp_bt = _bt(scores.logp_n), _bt(scores.ref_logp_n)
        kl_bt = penalty_bt = None
        if kl_in == "loss":
            estimators = {"k1": k1_bt, "k2": k2_bt, "k3": k3_bt}
            kl_bt = _bt(scores.kl_n) if kl == "exact" else estimators[kl](logp_bt, ref_logp_bt)
        else:
            penalty_bt = reward_penalty_bt(logp_bt, ref_logp_bt, MASK, to_go=kl_in == "reward_to_go")
        return cada_loss(logp_bt, MASK, reward_b, _prob_b(THETA), kl_bt, BETA, "sum", penalty_bt)

    return loss


@pytest.mark.parametrize(
    ("kl", "kl_in", "target"),
    [
        ("exact", "loss", _reverse_token_kl),
        ("k2", "loss", _reverse_token_kl),
        ("k3", "loss", _forward_token_kl),
        ("k1", "reward_sequence", _sequence_kl),
        ("k1", "reward_to_go", _sequence_kl),
    ],
)
def test_the_expected_gradient_is_that_of_the_reward_less_beta_times_its_kl(kl, kl_in, target):
    wanted = _gradient(lambda theta: -(_expected_reward(theta) - BETA * target(theta)))
    torch.testing.assert_close(_gradient(_loss(REWARD, kl, kl_in)), wanted, atol=1e-10, rtol=0)


def test_the_three_targets_differ_by_far_more_than_the_tolerance():
    reverse, forward, sequence = (_gradient(kl) for kl in (_reverse_token_kl, _forward_token_kl, _sequence_kl))
    assert min(float((a - b).abs().max()) for a, b in itertools.combinations((reverse, forward, sequence), 2)) > 0.05


def test_k1_in_the_loss_has_no_expected_gradient():
    assert float(_gradient(_loss(NO_REWARD, "k1", "loss")).abs().max()) < 1e-10
    assert float(_gradient(_loss(NO_REWARD, "k2", "loss")).abs().max()) > 0.01


def test_the_expected_values_of_k1_and_k3_are_the_kl_and_that_of_k2_is_not():
    scores = _scores(THETA)
    logp_bt, ref_logp_bt = _bt(scores.logp_n), _bt(scores.ref_logp_n)
    exact = float(_sequence_kl(THETA))
    k1, k2, k3 = (float(_prob_b(THETA) @ k(logp_bt, ref_logp_bt).sum(1)) for k in (k1_bt, k2_bt, k3_bt))
    assert [k1, k3, float(_prob_b(THETA) @ _bt(scores.kl_n).sum(1))] == pytest.approx([exact] * 3, abs=1e-10)
    assert abs(k2 - exact) > 0.01


@pytest.mark.parametrize(
    ("kind", "share"),
    # A baseline that a rollout's own reward is part of takes that part of its gradient away: 1/G of two rollouts, or
    # rate/N for the running mean. The others leave the policy gradient whole.
    [("none", 1.0), ("leave_one_out", 1.0), ("group", 0.5), ("batch", 0.5), ("running", 1 - 0.3 / 2)],
)
def test_reinforce_has_the_policy_gradient_times_the_share_its_baseline_leaves(kind, share):
    prob_b = _prob_b(THETA)

    def loss(theta_vc):
        logp_bt = _bt(_scores(theta_vc).logp_n)
        total = logp_bt.new_zeros(())
        for pair in itertools.product(range(9), repeat=2):
            rows = torch.tensor(pair)
            advantage_b = centred_b(REWARD[rows], kind, 2, RunningMean(rate=0.3, start=-0.4))
            weight_b = (prob_b[rows].prod() / 2).expand(2)
            total = total + cada_loss(logp_bt[rows], MASK[rows], advantage_b, weight_b, None, 0.0, "sum")
        return total

    wanted = _gradient(lambda theta: -share * _expected_reward(theta))
    torch.testing.assert_close(_gradient(loss), wanted, atol=1e-10, rtol=0)
