"""Log-probability, entropy and exact KL of tokens from hidden states, in tiles: [N, V] never exists as a whole.

A tile is some tokens by some words of the vocabulary, small enough for a CPU's cache. Each leaves its part of the sums
over the vocabulary, which are put together at the end, as flash attention and cut cross-entropy (2411.09009) do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

TILE_TOK, TILE_VOCAB = 1024, 4096  # float32 logits of 17 MB; much smaller products would leave a GPU waiting

Direction = Literal["reverse", "forward", "symmetric"]
FORWARD_SHARE: dict[Direction, float] = {"reverse": 0.0, "forward": 1.0, "symmetric": 0.5}  # of KL(reference || policy)


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
    kl_direction: Direction = "reverse",
) -> TokenScores:
    """Scores of label_n under softmax(hidden W^T / temperature), with gradients to hidden and weight.

    Given the reference's hidden states and head, also its log-probability and, with exact_kl, the KL summed over the
    vocabulary at each position: KL(policy || reference), forward KL(reference || policy), symmetric half of each. The
    backward pass computes each tile's logits again. Under autocast the states are rounded here, once, and it is off
    below: it would round the forward's products and not the backward's, whose probabilities would be off by some
    percent, and the sums over the vocabulary, where a small KL would vanish.
    """
    device = hidden_nh.device.type
    if torch.is_autocast_enabled(device):
        hidden_nh = hidden_nh.to(torch.get_autocast_dtype(device))
        ref_hidden_nh = None if ref_hidden_nh is None else ref_hidden_nh.to(hidden_nh.dtype)
    if ref_hidden_nh is None or ref_weight_vh is None:
        ref_hidden_nh, ref_weight_vh, exact_kl = hidden_nh.new_empty(0), weight_vh.new_empty(0), False
    forward_share = FORWARD_SHARE[kl_direction] if exact_kl else 0.0
    with torch.autocast(device, enabled=False):
        logp_n, kl_n, entropy_n, ref_logp_n = _TiledScores.apply(
            hidden_nh, weight_vh, label_n, temperature, ref_hidden_nh, ref_weight_vh, exact_kl, forward_share
        )
    has_reference = ref_hidden_nh.numel() > 0 or label_n.numel() == 0
    return TokenScores(logp_n, entropy_n, ref_logp_n if has_reference else None, kl_n if exact_kl else None)


def _logits(hidden_nh: Tensor, weight_vh: Tensor, temperature: float) -> Tensor:
    logits_nv = (hidden_nh @ weight_vh.to(hidden_nh.dtype).T).to(_score_dtype(hidden_nh))
    return logits_nv if temperature == 1.0 else logits_nv.div_(temperature)


def _score_dtype(hidden_nh: Tensor) -> torch.dtype:
    """float32 at least: half precision loses the tails; float64 stays, so that gradients can be checked exactly."""
    return torch.promote_types(hidden_nh.dtype, torch.float32)


def _tiles(n_tok: int, n_vocab: int) -> Iterator[tuple[int, slice, slice]]:
    """Number of the part of the vocabulary, the part, tokens."""
    for number, word in enumerate(range(0, n_vocab, TILE_VOCAB)):
        for tok in range(0, n_tok, TILE_TOK):
            yield number, slice(word, word + TILE_VOCAB), slice(tok, tok + TILE_TOK)


def _label_in(vocab: slice, label_n: Tensor) -> tuple[Tensor, Tensor]:
    """Each label's column in this part of the vocabulary [N, 1], 0 where it is not there, and whether it is there."""
    inside_n1 = ((label_n >= vocab.start) & (label_n < vocab.stop)).unsqueeze(1)
    return torch.where(inside_n1, label_n.unsqueeze(1) - vocab.start, 0), inside_n1


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
        forward_share: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n_tok, n_vocab = label_n.numel(), weight_vh.shape[0]
        sums = torch.zeros(5, -(-n_vocab // TILE_VOCAB), n_tok, dtype=_score_dtype(hidden_nh), device=hidden_nh.device)
        # means of a tile are under its own part of the policy, the last under that of the reference
        log_z_tn, ref_log_z_tn, mean_logit_tn, mean_gap_tn, ref_mean_gap_tn = sums
        logp_n, ref_logp_n = sums.new_zeros(2, n_tok)
        for number, vocab, tok in _tiles(n_tok, n_vocab):
            column_n1, inside_n1 = _label_in(vocab, label_n[tok])
            logits_nv = _logits(hidden_nh[tok], weight_vh[vocab], temperature)
            logp_n[tok] += (logits_nv.gather(1, column_n1) * inside_n1).squeeze(1)
            log_z_tn[number, tok] = log_z_n = logits_nv.logsumexp(dim=1)
            prob_nv = (logits_nv - log_z_n.unsqueeze(1)).exp_()
            mean_logit_tn[number, tok] = torch.linalg.vecdot(prob_nv, logits_nv)
            if ref_hidden_nh.numel():
                ref_logits_nv = _logits(ref_hidden_nh[tok], ref_weight_vh[vocab], temperature)
                ref_logp_n[tok] += (ref_logits_nv.gather(1, column_n1) * inside_n1).squeeze(1)
                ref_log_z_tn[number, tok] = ref_log_z_n = ref_logits_nv.logsumexp(dim=1)
                if exact_kl:
                    gap_nv = logits_nv.sub_(ref_logits_nv)
                    mean_gap_tn[number, tok] = torch.linalg.vecdot(prob_nv, gap_nv)
                    if forward_share:
                        ref_prob_nv = ref_logits_nv.sub_(ref_log_z_n.unsqueeze(1)).exp_()
                        ref_mean_gap_tn[number, tok] = torch.linalg.vecdot(ref_prob_nv, gap_nv)
        log_z_n, ref_log_z_n = log_z_tn.logsumexp(dim=0), ref_log_z_tn.logsumexp(dim=0)
        share_tn = (log_z_tn - log_z_n).exp()
        mean_gap_n = (share_tn * mean_gap_tn).sum(dim=0)
        entropy_n = (log_z_n - (share_tn * mean_logit_tn).sum(dim=0)).clamp_(min=0)  # rounding may take it below
        ref_logp_n -= ref_log_z_n
        kl_n = mean_gap_n - (log_z_n - ref_log_z_n)
        if forward_share:
            ref_mean_gap_n = ((ref_log_z_tn - ref_log_z_n).exp() * ref_mean_gap_tn).sum(dim=0)
            kl_n = (1 - forward_share) * kl_n + forward_share * (log_z_n - ref_log_z_n - ref_mean_gap_n)
        ctx.save_for_backward(
            hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh, log_z_n, ref_log_z_n, mean_gap_n
        )
        ctx.temperature, ctx.exact_kl, ctx.forward_share = temperature, exact_kl, forward_share
        ctx.mark_non_differentiable(entropy_n, ref_logp_n)
        return logp_n - log_z_n, kl_n, entropy_n, ref_logp_n

    @staticmethod
    def backward(ctx: Any, grad_logp_n: Tensor, grad_kl_n: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """With the gap log p - log q: d logp/d logits = onehot - p; d KL(p || q)/d logits = p (gap - its mean under p);
        d KL(q || p)/d logits = p - q.

        All divided by the temperature; the gap may be that of the logits, which differs by a constant.
        """
        hidden_nh, weight_vh, label_n, ref_hidden_nh, ref_weight_vh, log_z_n, ref_log_z_n, mean_gap_n = (
            ctx.saved_tensors
        )
        share = ctx.forward_share
        grad_hidden_nh = torch.zeros_like(hidden_nh, dtype=log_z_n.dtype)
        grad_weight_vh = torch.zeros_like(weight_vh) if ctx.needs_input_grad[1] else None
        for _number, vocab, tok in _tiles(label_n.numel(), weight_vh.shape[0]):
            grad_logp_n1 = grad_logp_n[tok].unsqueeze(1)
            logits_nv = _logits(hidden_nh[tok], weight_vh[vocab], ctx.temperature)
            if ctx.exact_kl:
                grad_kl_n1 = grad_kl_n[tok].unsqueeze(1)
                ref_logits_nv = _logits(ref_hidden_nh[tok], ref_weight_vh[vocab], ctx.temperature)
                weight_nv = (logits_nv - ref_logits_nv).sub_(mean_gap_n[tok].unsqueeze(1))
                if share:
                    weight_nv.mul_(1 - share).add_(share)
                weight_nv.mul_(grad_kl_n1).sub_(grad_logp_n1)
            else:
                weight_nv = -grad_logp_n1
            grad_nv = logits_nv.sub_(log_z_n[tok].unsqueeze(1)).exp_().mul_(weight_nv)
            if share:
                grad_nv -= ref_logits_nv.sub_(ref_log_z_n[tok].unsqueeze(1)).exp_().mul_(share * grad_kl_n1)
            column_n1, inside_n1 = _label_in(vocab, label_n[tok])
            grad_nv.scatter_add_(1, column_n1, grad_logp_n1 * inside_n1)
            grad_nv = grad_nv.div_(ctx.temperature).to(hidden_nh.dtype)
            grad_hidden_nh[tok] += grad_nv @ weight_vh[vocab].to(hidden_nh.dtype)
            if grad_weight_vh is not None:
                grad_weight_vh[vocab] += grad_nv.T @ hidden_nh[tok]
        return grad_hidden_nh.to(hidden_nh.dtype), grad_weight_vh, None, None, None, None, None, None
