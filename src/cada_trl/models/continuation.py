"""The decoding loop: prompts in, completions out, each as soon as it ends; a row that has ended leaves the batch.

Not model.generate, which runs every row until the last one ends: a refusal of 30 tokens would cost as much as the
longest answer of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, TopPLogitsWarper

from cada_trl.models.growing_cache import growing_cache

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
        # With replacement torch inverts the distribution function; without, it draws a number a vocabulary entry.
        return torch.multinomial(logits_bv.softmax(-1), 1, replacement=True)[:, 0]

    return choose


@torch.no_grad()
def continued(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    choose: Choose,
    ends: Collection[int],
    max_new_tok: int,
    prefix: tuple[Cache, Tensor] | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """(row, new token ids up to and with the first end) as each row ends; rows cut at max_new_tok come last.

    prefix: keys and values of text before each prompt, one row a prompt, and its mask [B, T_prefix].
    """
    cache: Any = growing_cache() if prefix is None else prefix[0]
    ids, mask = left_padded(prompts, model.device)
    mask = mask if prefix is None else torch.cat([prefix[1], mask], dim=1)
    position = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    rows = list(range(len(prompts)))
    said: list[list[int]] = [[] for _ in prompts]
    for _ in range(max_new_tok):
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": position}
        logits_btv = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        token_b = choose(logits_btv[:, -1])
        for row, token in zip(rows, token_b.tolist(), strict=True):
            said[row].append(token)
        going = [place for place, row in enumerate(rows) if said[row][-1] not in ends]
        yield from ((row, said[row]) for row in rows if said[row][-1] in ends)
        if len(going) < len(rows):
            kept = torch.tensor(going, dtype=torch.long, device=model.device)
            token_b, mask, position = token_b[kept], mask[kept], position[kept]
            rows = [rows[place] for place in going]
            if not rows:
                return
            cache.batch_select_indices(kept)
        ids, position = token_b[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    yield from ((row, said[row]) for row in rows)


def left_padded(prompts: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T]; the pad's id is never read, since masks and positions come from lengths."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
    return ids, mask
