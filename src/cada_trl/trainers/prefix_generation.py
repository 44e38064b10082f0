"""transformers.generate with each distinct prompt prefix run once: the cases of a hazard are common to its requests."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel

from cada_trl.algo.packing import common_prefix


def generate_with_shared_prefixes(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    groups: Sequence[Hashable],
    generation_config: GenerationConfig,
    pad_id: int,
) -> Tensor:
    """Completions [B, T], padded after their end: what model.generate gives for the left-padded prompts.

    groups: rows with equal values share a prompt prefix. Its keys and values are computed once a group and copied to
    the group's rows; the rest of each prompt follows, left-padded, so that a row's real tokens are [prefix | rest] with
    pads before each of the two. Positions come from the attention mask.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    prefixes: list[list[int]] = []
    prefix_of = [0] * len(prompts)
    for number, rows in enumerate(members.values()):
        shared = min(common_prefix([prompts[row] for row in rows]), min(len(prompts[row]) for row in rows) - 1)
        prefixes.append(prompts[rows[0]][:shared])
        for row in rows:
            prefix_of[row] = number
    rests = [prompt[len(prefixes[number]) :] for prompt, number in zip(prompts, prefix_of, strict=True)]
    prefix_ids, prefix_mask = _left_padded(prefixes, pad_id, model.device)
    rest_ids, rest_mask = _left_padded(rests, pad_id, model.device)
    cache: Any = DynamicCache()
    positions = (prefix_mask.cumsum(-1) - 1).clamp(min=0)
    model.base_model(
        input_ids=prefix_ids, attention_mask=prefix_mask, position_ids=positions, past_key_values=cache, use_cache=True
    )
    chosen = torch.tensor(prefix_of, device=model.device)
    cache.batch_select_indices(chosen)
    output = model.generate(  # type: ignore[operator]  # torch types a module's attributes as tensors
        input_ids=torch.cat([prefix_ids[chosen], rest_ids], dim=1),
        attention_mask=torch.cat([prefix_mask[chosen], rest_mask], dim=1),
        past_key_values=cache,
        generation_config=generation_config,
    )
    return output[:, prefix_ids.shape[1] + rest_ids.shape[1] :]


def _left_padded(rows: Sequence[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask
