"""The CADA loss: REINFORCE on the centred reward plus a KL term of its own (paper, Objective)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

FIRST_TOK = 4  # ours: the header "### Analysis" and what follows it at once, or the first words of an answer


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
    beta_kl is one number, or one a row [B]. reward_penalty_bt (KL in the reward) is subtracted, times beta_kl, from the
    advantage of each token. importance_bt (mismatch.py) multiplies the advantage of each token, never the KL.
    first_tok_weight multiplies reward and KL of each completion's first FIRST_TOK tokens (ours: whether to refuse is
    decided where the answer begins, and a sum over all tokens spends its gradient on those that follow from it).
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
    weight_t[:FIRST_TOK] = first_tok_weight
    objective_b = (objective_bt * mask_bt * weight_t).sum(dim=1)
    if logp == "mean":
        objective_b = objective_b / mask_bt.sum(dim=1).clamp(min=1)
    return (weight_b * objective_b).sum()
