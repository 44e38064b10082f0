"""Log-probability, entropy and exact KL of tokens from hidden states, in tiles: [N, V] never exists as a whole."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE_TOK = 256  # tokens a tile: 256 x 49k float32 logits are 50 MB


class TokenScores(NamedTuple):
    """Of N tokens, in nats; entropy and ref_logp carry no gradient. Without a reference the last two are None."""

    logp_n: Tensor
    entropy_n: Tensor
    ref_logp_n: Tensor | None
    kl_n: Tensor | None


def token_scores(
    hidden_nh: Tensor,
    weight_vh: Tensor,
    label_n: Tensor,
    temperature: float,
    ref_hidden_nh: Tensor | None = None,
    ref_weight_vh: Tensor | None = None,
    exact_kl: bool = False,
) -> TokenScores:
    """Scores of label_n under softmax(hidden W^T / temperature), with gradients to hidden and weight.

    Given the reference's hidden states and head, also its log-probability and, with exact_kl, KL(policy || reference)
    summed over the vocabulary at each position. The backward pass computes each tile's logits again.
    """
    if ref_hidden_nh is None or ref_weight_vh is None:
        ref_hidden_nh, ref_weight_vh, exact_kl = hidden_nh.new_empty(0), weight_vh.new_empty(0), False
    logp_n, kl_n, entropy_n, ref_logp_n = _TiledScores.apply(
        hidden_nh, weight_vh, label_n, temperature, ref_hidden_nh, ref_weight_vh, exact_kl
    )
    has_reference = ref_hidden_nh.numel() > 0 or label_n.numel() == 0
    return TokenScores(logp_n, entropy_n, ref_logp_n if has_reference else None, kl_n if exact_kl else None)


def _log_softmax(hidden_nh: Tensor, weight_vh: Tensor, temperature: float) -> Tensor:
    logits_nv = hidden_nh @ weight_vh.to(hidden_nh.dtype).T
    logits_nv = logits_nv.to(_score_dtype(hidden_nh))
    if temperature != 1.0:
        logits_nv.div_(temperature)
    return logits_nv.sub_(logits_nv.logsumexp(dim=-1, keepdim=True))


def _score_dtype(hidden_nh: Tensor) -> torch.dtype:
    """float32 at least: half precision loses the tails; float64 stays, so that gradients can be checked exactly."""
    return torch.promote_types(hidden_nh.dtype, torch.float32)


class _TiledScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_nh: Tensor,
        weight_vh: Tensor,
        label_n: Tensor,
        temperature: float,
        ref_hidden_nh: Tensor,
        ref_weight_vh: Tensor,
        exact_kl: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n_tok = label_n.numel()
        logp_n, kl_n, entropy_n, ref_logp_n = (
            torch.zeros(n_tok, dtype=_score_dtype(hidden_nh), device=hidden_nh.device) for _ in range(4)
        )
        for start in range(0, n_tok, TILE_TOK):
            tile = slice(start, start + TILE_TOK)
            label_n1 = label_n[tile].unsqueeze(1)
            logp_nv = _log_softmax(hidden_nh[tile], weight_vh, temperature)
            logp_n[tile] = logp_nv.gather(1, label_n1).squeeze(1)
            prob_nv = logp_nv.exp()
            entropy_n[tile] = -torch.linalg.vecdot(prob_nv, logp_nv)
            if ref_hidden_nh.numel():
                ref_logp_nv = _log_softmax(ref_hidden_nh[tile], ref_weight_vh, temperature)
                ref_logp_n[tile] = ref_logp_nv.gather(1, label_n1).squeeze(1)
                if exact_kl:
                    kl_n[tile] = torch.linalg.vecdot(prob_nv, logp_nv - ref_logp_nv)
        ctx.save_for_backward(hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh, kl_n)
        ctx.temperature, ctx.exact_kl = temperature, exact_kl
        ctx.mark_non_differentiable(entropy_n, ref_logp_n)
        return logp_n, kl_n, entropy_n, ref_logp_n

    @staticmethod
    def backward(ctx: Any, grad_logp_n: Tensor, grad_kl_n: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """d logp/d logits = onehot - p; d KL/d logits = p (log p - log q - KL); both divided by the temperature."""
        hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh, kl_n = ctx.saved_tensors
        grad_hidden_nh = torch.zeros_like(hidden_nh)
        grad_weight_vh = torch.zeros_like(weight_vh) if ctx.needs_input_grad[1] else None
        for start in range(0, label_n.numel(), TILE_TOK):
            tile = slice(start, start + TILE_TOK)
            logp_nv = _log_softmax(hidden_nh[tile], weight_vh, ctx.temperature)
            prob_nv = logp_nv.exp()
            if ctx.exact_kl:
                logp_nv.sub_(_log_softmax(ref_hidden_nh[tile], ref_weight_vh, ctx.temperature))
                logp_nv.sub_(kl_n[tile].unsqueeze(1)).mul_(grad_kl_n[tile].unsqueeze(1))
                grad_nv = logp_nv.sub_(grad_logp_n[tile].unsqueeze(1)).mul_(prob_nv)
            else:
                grad_nv = prob_nv.mul_(-grad_logp_n[tile].unsqueeze(1))
            grad_nv.scatter_add_(1, label_n[tile].unsqueeze(1), grad_logp_n[tile].unsqueeze(1))
            grad_nv = grad_nv.div_(ctx.temperature).to(hidden_nh.dtype)
            grad_hidden_nh[tile] = grad_nv @ weight_vh.to(hidden_nh.dtype)
            if grad_weight_vh is not None:
                grad_weight_vh.add_(grad_nv.T @ hidden_nh[tile])
        return grad_hidden_nh, grad_weight_vh, None, None, None, None, None
