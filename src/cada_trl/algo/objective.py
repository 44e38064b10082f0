"""The objective a token: REINFORCE on the centred reward, and a KL in the loss or in the reward (paper, Objective).

d = log(policy/reference) of the sampled token. As differentiable terms of the loss, in expectation over the policy's
own samples, k2 = d^2/2 has the gradient of KL(policy || reference), k3 = exp(-d) - 1 + d that of KL(reference ||
policy), and k1 = d none (docs/methods.md). The exact KL sums over the vocabulary (scores.py) and needs no such samples.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

BETA_GAIN, BETA_CLIP = 0.1, 0.2  # Ziegler et al. 2019: K_beta, and the bound of the proportional error


def cada_loss(
    logp_bt: Tensor,
    mask_bt: Tensor,
    advantage_b: Tensor,
    weight_b: Tensor,
    kl_bt: Tensor | None,
    beta_kl: float | Tensor,
    logp: Literal["sum", "mean"],
    reward_penalty_bt: Tensor | None = None,
    importance_bt: Tensor | None = None,
    first_tok_weight: float = 1.0,
) -> Tensor:
    """sum_b weight_b * ( -advantage_b * sum_t logp_bt + beta_kl * sum_t kl_bt ), a scalar.

    weight_b is 1/N over the N scored rollouts of the optimiser step (0 for unscored ones), so that the loss of a step
    is the same however it is cut into micro-batches and ranks. logp="sum" is the paper's sequence log-probability;
    "mean" divides each row by its own length, which lowers the effective learning rate of long completions.
    beta_kl is one number, or one per row [B]. reward_penalty_bt (KL in the reward) is subtracted, times beta_kl, from
    the advantage of each token. importance_bt multiplies the advantage of each token, never the KL. first_tok_weight
    multiplies reward and KL of each completion's first token (ours: whether to refuse is decided there, and a sum over
    all tokens spends its gradient on those that follow from it).
    """
    beta = beta_kl.unsqueeze(1) if isinstance(beta_kl, Tensor) else beta_kl
    advantage_bt = advantage_b.unsqueeze(1).expand_as(logp_bt)
    if reward_penalty_bt is not None:
        advantage_bt = advantage_bt - beta * reward_penalty_bt
    if importance_bt is not None:
        advantage_bt = advantage_bt * importance_bt
    objective_bt = -advantage_bt.detach() * logp_bt
    if kl_bt is not None:
        objective_bt = objective_bt + beta * kl_bt
    weight_t = torch.ones_like(logp_bt[0])
    weight_t[0] = first_tok_weight
    objective_b = (objective_bt * mask_bt * weight_t).sum(dim=1)
    if logp == "mean":
        objective_b = objective_b / mask_bt.sum(dim=1).clamp(min=1)
    return (weight_b * objective_b).sum()


def k1_bt(logp_bt: Tensor, ref_logp_bt: Tensor) -> Tensor:
    """log(policy/reference), in nats: unbiased in value, useless as a loss (zero expected gradient)."""
    return logp_bt - ref_logp_bt


def k2_bt(logp_bt: Tensor, ref_logp_bt: Tensor) -> Tensor:
    """Half the squared log-ratio, in nats (Schulman's k2): the reverse KL's gradient on-policy."""
    return 0.5 * (logp_bt - ref_logp_bt).square()


def k3_bt(logp_bt: Tensor, ref_logp_bt: Tensor) -> Tensor:
    """exp(-d) - 1 + d, in nats (Schulman's k3): never negative; the forward KL's gradient on-policy."""
    log_ratio_bt = logp_bt - ref_logp_bt
    return torch.expm1(-log_ratio_bt) + log_ratio_bt


def reward_penalty_bt(logp_bt: Tensor, ref_logp_bt: Tensor, mask_bt: Tensor, to_go: bool) -> Tensor:
    """k1 as a cost inside the reward, [B, T] nats, detached: the whole sequence's, or the cost from each token on.

    Both have the gradient of the sequence's KL(policy || reference); return-to-go has the lower variance.
    """
    cost_bt = (k1_bt(logp_bt, ref_logp_bt) * mask_bt).detach()
    if to_go:
        return cost_bt.flip(1).cumsum(1).flip(1) * mask_bt
    return cost_bt.sum(dim=1, keepdim=True) * mask_bt


def steered_beta(beta: float, kl_nats: float, target_nats: float | None) -> float:
    """beta_kl of the next step, from a step's mean KL per completion (Ziegler et al. 2019, section 2.2).

    A KL of NaN and no target leave it as it is.
    """
    if target_nats is None or math.isnan(kl_nats):
        return beta
    error = max(-BETA_CLIP, min(BETA_CLIP, kl_nats / target_nats - 1.0))
    return beta * (1.0 + BETA_GAIN * error)


class Mismatch(NamedTuple):
    """weight_bt multiplies the advantage of each token. The others count for the record: capped and missing are masks,
    gap_bt is |trainer - sampler| in nats; all are zero outside the completions and where the sampler gave none."""

    weight_bt: Tensor
    capped_bt: Tensor
    missing_bt: Tensor
    gap_bt: Tensor


def truncated_weights(logp_bt: Tensor, sampler_logp_bt: Tensor, mask_bt: Tensor, cap: float) -> Mismatch:
    """Importance weights min(trainer / sampler, cap) of the tokens [B, T], from both log-probabilities under the same
    temperature: after Ionides (2008), "Truncated importance sampling", as TRL's "token_truncate".

    vLLM computes the same model's probabilities in another order or precision, so that its samples are slightly
    off-policy. With one update per batch the trainer's are those of the loss's own forward pass, detached. A token
    without a sampler log-probability (NaN) has weight 0: its ratio is not known, and 1 would be a guess.
    """
    with torch.no_grad():
        real_bt = mask_bt.bool()
        missing_bt = real_bt & sampler_logp_bt.isnan()
        known_bt = real_bt & ~missing_bt
        log_ratio_bt = torch.where(known_bt, logp_bt.detach() - sampler_logp_bt, 0.0)
        ratio_bt = log_ratio_bt.exp()
        weight_bt = ratio_bt.clamp(max=cap) * known_bt
        return Mismatch(weight_bt, known_bt & (ratio_bt > cap), missing_bt, log_ratio_bt.abs())
