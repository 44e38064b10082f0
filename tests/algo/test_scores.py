"""Tiled scores against the plain log_softmax over all tokens, in value and in gradient."""

import math

import pytest
import torch

from cada_trl.algo import scores
from cada_trl.algo.scores import TokenScores, token_scores

N_TOK, N_VOCAB, N_HIDDEN = 7, 11, 5
TEMPERATURE = 0.7
DIRECTIONS = ["reverse", "forward", "symmetric"]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(autouse=True)
def tiles_of_three_tokens_and_four_words(monkeypatch):
    """Seven tokens and eleven words make two whole tiles and a rest each."""
    monkeypatch.setattr(scores, "TILE_TOK", 3)
    monkeypatch.setattr(scores, "TILE_VOCAB", 4)


def _inputs(dtype):
    generator = torch.Generator().manual_seed(1)
    hidden_nh, ref_hidden_nh = (torch.randn(N_TOK, N_HIDDEN, generator=generator).to(dtype) for _ in range(2))
    weight_vh, ref_weight_vh = (torch.randn(N_VOCAB, N_HIDDEN, generator=generator).to(dtype) for _ in range(2))
    label_n = torch.randint(N_VOCAB, (N_TOK,), generator=generator)
    return hidden_nh.requires_grad_(), weight_vh.requires_grad_(), label_n, ref_hidden_nh, ref_weight_vh


def _naive(hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh, kl_direction="reverse"):
    logp_nv = (hidden_nh @ weight_vh.T / TEMPERATURE).log_softmax(dim=1)
    ref_logp_nv = (ref_hidden_nh @ ref_weight_vh.T / TEMPERATURE).log_softmax(dim=1)
    place = (torch.arange(N_TOK), label_n)
    entropy_n = -(logp_nv.exp() * logp_nv).sum(1)
    reverse_n = (logp_nv.exp() * (logp_nv - ref_logp_nv)).sum(1)
    forward_n = (ref_logp_nv.exp() * (ref_logp_nv - logp_nv)).sum(1)
    kl_n = {"reverse": reverse_n, "forward": forward_n, "symmetric": (reverse_n + forward_n) / 2}[kl_direction]
    return TokenScores(logp_nv[place], entropy_n, ref_logp_nv[place], kl_n)


def _mixed(scored, exact_kl):
    """A scalar in which every token's log-probability and KL has its own weight."""
    weight_n = torch.linspace(-1.0, 2.0, N_TOK, dtype=scored.logp_n.dtype)
    mixed = (weight_n * scored.logp_n).sum()
    if exact_kl and scored.kl_n is not None:
        mixed = mixed + (weight_n.square() * scored.kl_n).sum()
    return mixed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_values_equal_the_plain_log_softmax(dtype, direction):
    hidden_nh, weight_vh, label_n, *reference = _inputs(dtype)
    tiled = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *reference, True, direction)
    naive = _naive(hidden_nh, weight_vh, label_n, *reference, direction)
    for one, other in zip(tiled, naive, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize(("exact_kl", "direction"), [(False, "reverse"), *((True, each) for each in DIRECTIONS)])
def test_gradients_equal_the_plain_log_softmax(dtype, with_reference, exact_kl, direction):
    hidden_nh, weight_vh, label_n, *reference = _inputs(dtype)
    given = reference if with_reference else (None, None)
    tiled = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *given, exact_kl, direction)
    got = torch.autograd.grad(_mixed(tiled, exact_kl), (hidden_nh, weight_vh))
    naive = _naive(hidden_nh, weight_vh, label_n, *reference, direction)
    wanted = torch.autograd.grad(_mixed(naive, exact_kl and with_reference), (hidden_nh, weight_vh))
    for one, other in zip(got, wanted, strict=True):
        scale = float(other.abs().max()) if dtype == torch.float32 else 1.0
        torch.testing.assert_close(one, other, atol=TOLERANCE[dtype] * scale, rtol=0)


def test_a_frozen_head_still_passes_the_gradient_to_the_hidden_states():
    hidden_nh, weight_vh, label_n, *reference = _inputs(torch.float64)
    whole = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *reference, exact_kl=True)
    frozen = token_scores(hidden_nh, weight_vh.detach(), label_n, TEMPERATURE, *reference, exact_kl=True)
    got, wanted = (torch.autograd.grad(_mixed(scored, True), hidden_nh)[0] for scored in (frozen, whole))
    torch.testing.assert_close(got, wanted, atol=0, rtol=0)


def test_the_directions_of_three_words_by_hand():
    """Policy (1/2, 1/4, 1/4), reference (1/4, 1/4, 1/2): each KL is ln 2 / 4, and a gradient is a difference."""
    hidden_nh = torch.ones(1, 1, dtype=torch.float64)
    log_p, log_q = (torch.tensor([[a], [b], [c]], dtype=torch.float64).log() for a, b, c in ((2, 1, 1), (1, 1, 2)))
    wanted = {
        "reverse": [math.log(2) * 3 / 8, -math.log(2) / 16, -math.log(2) * 5 / 16],  # p (log p/q - KL)
        "forward": [1 / 4, 0.0, -1 / 4],  # p - q
    }
    wanted["symmetric"] = [(one + other) / 2 for one, other in zip(wanted["reverse"], wanted["forward"], strict=True)]
    for direction in DIRECTIONS:
        weight_vh = log_p.clone().requires_grad_()
        kl_n = token_scores(hidden_nh, weight_vh, torch.tensor([0]), 1.0, hidden_nh, log_q, True, direction).kl_n
        assert kl_n is not None
        assert kl_n.tolist() == pytest.approx([math.log(2) / 4], abs=1e-12)
        assert torch.autograd.grad(kl_n.sum(), weight_vh)[0][:, 0].tolist() == pytest.approx(
            wanted[direction], abs=1e-12
        )


def test_where_one_word_has_nearly_all_the_probability_only_the_forward_kl_still_pulls_it_down():
    # p = (0.999, 0.001), q = (0.001, 0.999). Reverse: p (log p/q - KL) = 0.999 * 0.001 * 2 log 999; forward: p - q
    pulls = {}
    for direction in DIRECTIONS[:2]:
        logits_nv = torch.tensor([[0.999, 0.001]], dtype=torch.float64).log().requires_grad_()
        ref_logits_nv = logits_nv.detach().flip(1)
        words = torch.eye(2, dtype=torch.float64)
        scored = token_scores(logits_nv, words, torch.tensor([0]), 1.0, ref_logits_nv, words, True, direction)
        assert scored.kl_n is not None
        (pull_nv,) = torch.autograd.grad(scored.kl_n.sum(), logits_nv)
        pulls[direction] = float(pull_nv[0, 0])
    assert pulls["reverse"] == pytest.approx(0.999 * 0.001 * 2 * math.log(999))  # 0.014
    assert pulls["forward"] == pytest.approx(0.998)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_no_gradient_reaches_the_reference(direction):
    hidden_nh, weight_vh, label_n, *reference = _inputs(torch.float64)
    for tensor in reference:
        tensor.requires_grad_()
    _mixed(token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *reference, True, direction), True).backward()
    assert hidden_nh.grad is not None
    assert [tensor.grad for tensor in reference] == [None, None]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_policy_equal_to_its_reference_has_no_kl_and_no_kl_gradient(direction):
    hidden_nh, weight_vh, label_n, *_ = _inputs(torch.float32)
    same = hidden_nh.detach(), weight_vh.detach()
    scored = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *same, True, direction)
    assert scored.kl_n is not None
    assert scored.kl_n.tolist() == [0.0] * N_TOK
    for gradient in torch.autograd.grad(scored.kl_n.sum(), (hidden_nh, weight_vh)):
        assert float(gradient.abs().max()) == 0.0


def test_without_a_reference_there_is_neither_its_log_probability_nor_a_kl():
    hidden_nh, weight_vh, label_n, *_ = _inputs(torch.float32)
    scored = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, exact_kl=True)
    assert (scored.ref_logp_n, scored.kl_n) == (None, None)


def test_entropy_and_the_references_log_probability_carry_no_gradient():
    hidden_nh, weight_vh, label_n, *reference = _inputs(torch.float32)
    scored = token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *reference)
    assert scored.ref_logp_n is not None
    assert not scored.entropy_n.requires_grad
    assert not scored.ref_logp_n.requires_grad


def test_half_precision_is_scored_in_float32():
    hidden_nh, weight_vh, label_n, *reference = _inputs(torch.bfloat16)
    assert token_scores(hidden_nh, weight_vh, label_n, TEMPERATURE, *reference).logp_n.dtype == torch.float32


def test_the_entropy_of_a_token_that_is_all_but_certain_is_not_below_zero():
    generator = torch.Generator().manual_seed(0)
    hidden_nh, weight_vh = (30.0 * torch.randn(n, N_HIDDEN, generator=generator) for n in (500, N_VOCAB))
    scored = token_scores(hidden_nh, weight_vh, torch.zeros(500, dtype=torch.long), 1.0)
    assert float(scored.entropy_n.min()) == 0.0  # rounding alone would leave some of them at about -1e-4


@pytest.mark.parametrize("direction", ["reverse", "forward", "symmetric"])
def test_under_autocast_the_sums_over_the_vocabulary_are_not_rounded(direction):
    """A reference near the policy whose logits are all higher by 4: the KL is blind to it, bfloat16 sums are not."""
    generator = torch.Generator().manual_seed(0)
    hidden_nh = torch.randn(50, N_HIDDEN, generator=generator).bfloat16()
    weight_vh = torch.randn(N_VOCAB, N_HIDDEN, generator=generator).bfloat16()
    hidden_nh[:, 0] = 1.0
    ref_weight_vh = weight_vh.clone()
    ref_weight_vh[:, 0] += 4.0
    ref_weight_vh += (0.02 * torch.randn(weight_vh.shape, generator=generator)).bfloat16()
    label_n = torch.zeros(50, dtype=torch.long)
    found = []
    for is_on in (True, False):
        own_nh = hidden_nh.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_on):
            scored = token_scores(own_nh, weight_vh, label_n, 1.0, hidden_nh, ref_weight_vh, True, direction)
        found.append((scored.kl_n, scored.entropy_n, *torch.autograd.grad(scored.kl_n.sum(), own_nh)))
    for under, plain in zip(*found, strict=True):
        assert torch.equal(under, plain)


def test_under_autocast_the_gradient_is_that_of_the_rounded_logits():
    """The trainer calls backward outside autocast, which then rounds nothing there."""
    hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh = _inputs(torch.float32)
    hidden_nh = (8 * hidden_nh).detach().requires_grad_()  # logits of 20 and more, where bfloat16 rounds by 0.06
    with torch.autocast("cpu", torch.bfloat16):
        scored = token_scores(hidden_nh, weight_vh, label_n, 1.0, 8 * ref_hidden_nh, ref_weight_vh, True, "forward")
    grads = torch.autograd.grad(scored.logp_n.sum(), (hidden_nh, weight_vh))
    rounded = [part.detach().bfloat16().float().requires_grad_() for part in (hidden_nh, weight_vh)]
    logits_nv = (rounded[0] @ rounded[1].T).bfloat16().float()
    logp_n = logits_nv.log_softmax(dim=1)[torch.arange(N_TOK), label_n]
    for mine, theirs in zip(grads, torch.autograd.grad(logp_n.sum(), rounded), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() < 0.005 * theirs.norm()
