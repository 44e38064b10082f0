"""Token-level truncated importance weights for samples of another program than the one that trains.

vLLM and the trainer compute one model's probabilities in another order or precision, so that samples are slightly
off-policy. The weight of a token is min(trainer / sampler, cap), after Ionides (2008), "Truncated importance sampling",
as TRL's vllm_importance_sampling_mode="token_truncate". With one update a batch the trainer's probabilities are
those of the loss's own forward pass, detached: no second pass is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mismatch(NamedTuple):
    """weight_bt multiplies the advantage of each token. The others count for the record: capped and missing are masks,
    gap_bt is |trainer - sampler| in nats; all are zero outside the completions and where the sampler gave none."""

    weight_bt: Tensor
    capped_bt: Tensor
    missing_bt: Tensor
    gap_bt: Tensor


def truncated_weights(logp_bt: Tensor, sampler_logp_bt: Tensor, mask_bt: Tensor, cap: float) -> Mismatch:
    """Weights of the tokens [B, T] from both log-probabilities, under the same temperature.

    A token without a sampler log-probability (NaN) has weight 0: its ratio is not known, and 1 would be a guess.
    """
    with torch.no_grad():
        real_bt = mask_bt.bool()
        missing_bt = real_bt & sampler_logp_bt.isnan()
        known_bt = real_bt & ~missing_bt
        log_ratio_bt = torch.where(known_bt, logp_bt.detach() - sampler_logp_bt, 0.0)
        ratio_bt = log_ratio_bt.exp()
        weight_bt = ratio_bt.clamp(max=cap) * known_bt
        return Mismatch(weight_bt, known_bt & (ratio_bt > cap), missing_bt, log_ratio_bt.abs())
