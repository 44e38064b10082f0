"""KL(policy || reference) estimators a token, each with the gradient that it really has (docs/kl.md).

d = log(policy/reference) of the sampled token. As differentiable terms in the loss, in expectation over the policy's
own samples: k2 = d^2/2 has the gradient of KL(policy || reference); k3 = exp(-d) - 1 + d that of
KL(reference || policy); k1 = d has none. The exact KL sums over the vocabulary (algo/scores.py) and needs no sampling
assumption.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


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


class BetaController:
    """beta_kl, fixed or steered towards a target KL (Ziegler et al. 2019, section 2.2)."""

    GAIN = 0.1  # Ziegler et al. 2019: K_beta
    CLIP = 0.2  # Ziegler et al. 2019: the proportional error's bound

    def __init__(self, beta: float, target_nats: float | None) -> None:
        self.value = beta
        self.target_nats = target_nats

    def update(self, kl_nats: float) -> float:
        """Take a step's mean KL a completion; returns the beta of the next step. A KL that is NaN changes nothing."""
        if self.target_nats is not None and not math.isnan(kl_nats):
            error = max(-self.CLIP, min(self.CLIP, kl_nats / self.target_nats - 1.0))
            self.value *= 1.0 + self.GAIN * error
        return self.value
