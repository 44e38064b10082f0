"""Lay rollouts out for scoring without waste: right-padded, trimmed, sorted, their common prefix held once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Packed(NamedTuple):
    """One micro-batch. Every row's tokens are prefix + row; L may be 0.

    prefix_l: tokens that all rows share [L]. row_bs: the rest, right-padded [B, S]. A completion token n is predicted
    by the hidden state at (row_n, at_n) of row_bs; label_n is the token itself; t_n is its place in the completion.
    """

    prefix_l: Tensor
    row_bs: Tensor
    row_n: Tensor
    at_n: Tensor
    label_n: Tensor
    t_n: Tensor

    def to_bt(self, value_n: Tensor, n_t: int) -> Tensor:
        """Scatter a value per token [N] back to [B, T], zero where a row has no token."""
        value_bt = value_n.new_zeros(self.row_bs.shape[0], n_t)
        return value_bt.index_put((self.row_n, self.t_n), value_n)


def tokens_of(ids_bt: Tensor, mask_bt: Tensor) -> list[list[int]]:
    """Rows of real token ids, whatever side they were padded on."""
    return [ids[mask.bool()].tolist() for ids, mask in zip(ids_bt, mask_bt, strict=True)]


def left_padded(prompts: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T]; the pad's id is never read, since masks and positions come from lengths."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


def shared_prefix(prompts: Sequence[list[int]]) -> int:
    """Length of the longest prefix that all prompts share and that leaves each its last token, which predicts the
    completion's first."""
    first, last = min(prompts), max(prompts)
    most, length = min(map(len, prompts)) - 1, 0
    while length < most and first[length] == last[length]:
        length += 1
    return length


def pack(
    prompts: Sequence[list[int]], completions: Sequence[list[int]], share_prefix: bool, device: torch.device
) -> Packed:
    """Pack prompt + completion rows (non-empty each). share_prefix=False keeps every row whole (L = 0)."""
    shared = shared_prefix(prompts) if share_prefix and len(prompts) > 1 else 0
    rows = [prompt[shared:] + completion for prompt, completion in zip(prompts, completions, strict=True)]
    row_bs = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    row_n = torch.cat([torch.full((len(completion),), b) for b, completion in enumerate(completions)])
    t_n = torch.cat([torch.arange(len(completion)) for completion in completions])
    first_at_b = torch.tensor([len(prompt) - shared - 1 for prompt in prompts])
    label_n = torch.tensor([token for completion in completions for token in completion])
    prefix_l = torch.tensor(prompts[0][:shared], dtype=torch.long)
    parts = (prefix_l, row_bs, row_n, first_at_b[row_n] + t_n, label_n, t_n)
    return Packed(*(part.to(device) for part in parts))


def micro_batches(
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    values: Mapping[str, Tensor],
    size: int,
    share_prefix: bool,
    device: torch.device,
    rows: Sequence[int],
    least: int,
) -> list[dict[str, Any]]:
    """Micro-batches of `size` rows: `packed`, `rows` (their places before), and their part of each value [B, ...].

    rows: those to lay out. least: how many micro-batches there must be, at most as many as rows; where fewer would hold
    the rows, the fullest are cut in two.
    """
    cuts = _cut(micro_batch_order(rows, prompts, completions, size, share_prefix), size)
    while len(cuts) < least:
        fullest = cuts.pop(max(range(len(cuts)), key=lambda place: len(cuts[place])))
        cuts += _cut(fullest, -(-len(fullest) // 2))
    batches: list[dict[str, Any]] = []
    for chosen in cuts:
        packed = pack([prompts[b] for b in chosen], [completions[b] for b in chosen], share_prefix, device)
        batches.append({"packed": packed, "rows": chosen, **{key: value[chosen] for key, value in values.items()}})
    return batches


def learned_rows(advantages: Sequence[float], kept: Sequence[bool], least: int) -> tuple[list[int], list[int]]:
    """Rows with something to learn from, and others that fill up to `least` of them: those without an advantage have
    nothing to teach but their KL. kept: rows whose KL is wanted whatever their advantage is."""
    useful = [row for row, keep in enumerate(kept) if keep or abs(advantages[row]) > 1e-9]
    others = [row for row in range(len(kept)) if row not in useful]
    return useful, others[: max(least - len(useful), 0)]


def micro_batch_order(
    rows: Sequence[int],
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    size: int,
    share_prefix: bool,
) -> list[int]:
    """Order of the rows that costs the fewest tokens, pads among them, when cut into micro-batches of `size`.

    Two orders are tried: by length (least padding) and by prompt (longest shared prefixes side by side).
    """
    by_length = sorted(rows, key=lambda b: len(prompts[b]) + len(completions[b]))
    by_prompt = sorted(rows, key=lambda b: (prompts[b], len(completions[b])))
    return min(by_length, by_prompt, key=lambda order: _n_tok(_cut(order, size), prompts, completions, share_prefix))


def _n_tok(
    cuts: Sequence[list[int]], prompts: Sequence[list[int]], completions: Sequence[list[int]], share_prefix: bool
) -> int:
    total = 0
    for chosen in cuts:
        shared = shared_prefix([prompts[b] for b in chosen]) if share_prefix else 0
        longest = max(len(prompts[b]) + len(completions[b]) for b in chosen)
        total += shared + len(chosen) * (longest - shared)
    return total


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
