"""Prompts in, completions out, each as soon as it ends, and a prefix that rows share is run once.

Not model.generate, which runs every row until the last one ends: a refusal of 30 tokens would cost as much as the
longest answer of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TopPLogitsWarper

from cada_trl.algo.packing import left_padded, shared_prefix
from cada_trl.models.cpu_decoding import Before, after_prefixes, growing_cache

Choose = Callable[[Tensor], Tensor]  # logits [B, V] -> token ids [B]


def most_likely(logits_bv: Tensor) -> Tensor:
    """Greedy decoding."""
    return logits_bv.argmax(-1)


def sampled(temperature: float, top_p: float = 1.0) -> Choose:
    """Draw from softmax(logits / temperature), cut to the nucleus of top_p; from torch's global generator."""
    nucleus = TopPLogitsWarper(top_p) if top_p < 1.0 else None

    def choose(logits_bv: Tensor) -> Tensor:
        logits_bv = logits_bv.float() / temperature
        if nucleus is not None:
            logits_bv = nucleus(None, logits_bv)
        # The distribution function inverted at one number per row; torch.multinomial draws one per vocabulary entry.
        cumulative_bv = logits_bv.softmax(-1).cumsum(-1)
        if not cumulative_bv[:, -1].isfinite().all():
            raise RuntimeError("the model's logits are not finite; nothing can be sampled from them")
        drawn_b1 = torch.rand(len(logits_bv), 1, device=logits_bv.device) * cumulative_bv[:, -1:]
        return torch.searchsorted(cumulative_bv, drawn_b1, right=True)[:, 0].clamp(max=logits_bv.shape[1] - 1)

    return choose


@torch.no_grad()
def continued(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    choose: Choose,
    ends: Collection[int],
    max_new_tok: int | Sequence[int],
    before: Before | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """(row, new token ids up to and with the first end) as each row ends or has its max_new_tok.

    max_new_tok: of every row, or of each. before: what each prompt follows; None: nothing.
    """
    most_tok = [max_new_tok] * len(prompts) if isinstance(max_new_tok, int) else max_new_tok
    ids, mask = left_padded(prompts, model.device)
    before = before or Before(growing_cache(), mask[:, :0], mask.new_zeros(len(prompts)))
    cache: Any = before.cache
    position = (before.n_tok_b[:, None] + mask.cumsum(-1) - 1).clamp(min=0)
    mask = torch.cat([before.mask_bt, mask], dim=1)
    rows = list(range(len(prompts)))
    completions: list[list[int]] = [[] for _ in prompts]
    while rows:
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": position}
        logits_btv = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        token_b = choose(logits_btv[:, -1])
        for row, token in zip(rows, token_b.tolist(), strict=True):
            completions[row].append(token)
        going = []
        for place, row in enumerate(rows):
            if completions[row][-1] in ends or len(completions[row]) >= most_tok[row]:
                yield row, completions[row]
            else:
                going.append(place)
        if going and len(going) < len(rows):
            kept = torch.tensor(going, dtype=torch.long, device=model.device)
            token_b, mask, position = token_b[kept], mask[kept], position[kept]
            cache.batch_select_indices(kept)
            before.keep(kept)
        rows = [rows[place] for place in going]
        ids, position = token_b[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def generate_with_shared_prefixes(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    groups: Sequence[Hashable],
    choose: Choose,
    ends: Collection[int],
    max_new_tok: Sequence[int],
) -> list[list[int]]:
    """New token ids of each prompt, up to and with its first end: what each prompt gets alone.

    groups: rows with equal values share a prompt prefix, which is run once. max_new_tok: the most of each prompt;
    groups whose longest is equal are sampled side by side.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    # It counts places in the cache, and rows of unequal length have padding between prefix and rest.
    if window is not None and 2 * max(map(len, prompts)) + max(max_new_tok) > window:
        alone = dict(continued(model, prompts, choose, ends, max_new_tok))
        return [alone[row] for row in range(len(prompts))]
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    batches: dict[int, list[list[int]]] = {}
    for rows in members.values():
        batches.setdefault(max(max_new_tok[row] for row in rows), []).append(rows)
    completions: dict[int, list[int]] = {}
    for _, batch in sorted(batches.items()):
        n_shared = [shared_prefix([prompts[row] for row in rows]) for rows in batch]
        prefixes = [prompts[rows[0]][:n] for rows, n in zip(batch, n_shared, strict=True)]
        of_group = sorted((row, number) for number, rows in enumerate(batch) for row in rows)
        rests = [prompts[row][n_shared[number] :] for row, number in of_group]
        most_tok = [max_new_tok[row] for row, _ in of_group]
        with after_prefixes(model, prefixes, [number for _, number in of_group]) as before:
            for place, ids in continued(model, rests, choose, ends, most_tok, before):
                completions[of_group[place][0]] = ids
    return [completions[row] for row in range(len(prompts))]
