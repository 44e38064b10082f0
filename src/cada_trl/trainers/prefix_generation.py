"""Rollouts with each distinct prompt prefix run once: the cases of a hazard are common to its requests."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from cada_trl.algo.packing import common_prefix
from cada_trl.models.continuation import Choose, continued, left_padded
from cada_trl.models.growing_cache import growing_cache


def generate_with_shared_prefixes(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    groups: Sequence[Hashable],
    choose: Choose,
    ends: Collection[int],
    max_new_tok: Sequence[int],
) -> list[list[int]]:
    """New token ids of each prompt, up to and with its first end: what each prompt gets alone.

    groups: rows with equal values share a prompt prefix. max_new_tok: the most of each prompt; those with equal values
    are sampled side by side.
    """
    said: dict[int, list[int]] = {}
    for most_tok in sorted(set(max_new_tok)):
        rows = [row for row, most in enumerate(max_new_tok) if most == most_tok]
        own_prompts, own_groups = [prompts[row] for row in rows], [groups[row] for row in rows]
        said |= zip(rows, _side_by_side(model, own_prompts, own_groups, choose, ends, most_tok), strict=True)
    return [said[row] for row in range(len(prompts))]


def _side_by_side(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    groups: Sequence[Hashable],
    choose: Choose,
    ends: Collection[int],
    max_new_tok: int,
) -> list[list[int]]:
    """Rows that may all take as many tokens.

    A prefix's keys and values are computed once a group and copied to the group's rows; the rest of each prompt
    follows, left-padded, so that a row's real tokens are [prefix | rest] with pads before each of the two. Positions
    come from the attention mask.
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
    prefix = _run(model, prefixes, torch.tensor(prefix_of, device=model.device))
    said = dict(continued(model, rests, choose, ends, max_new_tok, prefix))
    return [said[row] for row in range(len(prompts))]


@torch.no_grad()
def _run(model: PreTrainedModel, prefixes: list[list[int]], prefix_of_b: Tensor) -> tuple[Cache, Tensor]:
    """Keys and values of each row's prefix, and their mask."""
    ids, mask = left_padded(prefixes, model.device)
    cache = growing_cache()
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    model.base_model(input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True)
    cache.batch_select_indices(prefix_of_b)
    return cache, mask[prefix_of_b]
