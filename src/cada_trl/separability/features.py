"""What a frozen model makes of a request: its state where the answer would begin, beside the mean over the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cada_trl.console import shown
from cada_trl.models.prompts import request_ids
from cada_trl.separability.probe import StatesArray

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_CHARS = 800  # ours: longer requests are cut
BATCH = 32  # ours


class Prefix(NamedTuple):
    """What all prompts of a call begin with, such as a system turn: computed once."""

    n_tok: int
    cache: Any
    sum_lh: Any  # of its states


class FrozenModel:
    """States of a causal LM that nothing is trained in."""

    def __init__(self, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._decoder: Any = policy.base_model.eval()
        self._tokenizer = tokenizer
        self.n_layers = int(policy.config.num_hidden_layers)

    def keep_layers(self, n: int) -> None:
        """Run the first n layers only from now on, where the model has them in a list and its last norm is known; their
        states stay the same."""
        import torch

        is_list = isinstance(getattr(self._decoder, "layers", None), torch.nn.ModuleList)
        if n < self.n_layers and is_list and hasattr(self._decoder, "norm"):
            self._decoder.layers = self._decoder.layers[:n]
            self._decoder.norm = torch.nn.Identity()  # it belongs behind the last layer

    def states(self, texts: Sequence[str], layers: Sequence[int], what: str) -> StatesArray:
        """States after each of the layers (from 1) [layer, text, 2 x hidden]. what: names the texts while they run."""
        found: dict[int, StatesArray] = dict(shown(self._as_they_come(texts, layers), len(texts), f"states of {what}"))
        return np.stack([found[row] for row in range(len(texts))], axis=1)

    def _as_they_come(self, texts: Sequence[str], layers: Sequence[int]) -> Iterator[tuple[int, StatesArray]]:
        """(row, states [layer, 2 x hidden]); rows of like length run together, so that little is padding."""
        import torch

        from cada_trl.algo.packing import shared_prefix

        prompts = [request_ids(self._tokenizer, text[:MAX_CHARS]) for text in texts]
        order = sorted(range(len(texts)), key=lambda row: len(prompts[row]))
        with torch.inference_mode():
            prefix = self._prefix(prompts[0][: shared_prefix(prompts)], layers)
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                states_blf = self._batch([prompts[row][prefix.n_tok :] for row in rows], layers, prefix)
                yield from zip(rows, states_blf.float().cpu().numpy(), strict=True)

    def _prefix(self, ids: list[int], layers: Sequence[int]) -> Prefix:
        from transformers import DynamicCache

        cache = DynamicCache(config=self._decoder.config)
        if not ids:
            return Prefix(0, cache, 0.0)
        states_lbth = self._run([ids], layers, cache, 0)
        return Prefix(len(ids), cache, states_lbth[:, 0].sum(1))

    def _batch(self, own: list[list[int]], layers: Sequence[int], prefix: Prefix) -> Tensor:
        """Last and mean state of each prompt [B, layer, 2 x hidden]; own: its tokens after the prefix."""
        import torch

        cache = deepcopy(prefix.cache)
        if prefix.n_tok:
            cache.batch_repeat_interleave(len(own))
        states_lbth = self._run(own, layers, cache, prefix.n_tok)
        both = []
        for place, ids in enumerate(own):
            own_lth = states_lbth[:, place, : len(ids)]
            mean_lh = (prefix.sum_lh + own_lth.sum(1)) / (prefix.n_tok + len(ids))
            both.append(torch.cat([own_lth[:, -1], mean_lh], dim=-1))
        return torch.stack(both)

    def _run(self, rows: list[list[int]], layers: Sequence[int], cache: Any, n_before: int) -> Tensor:
        """States [layer, B, T, hidden]; padded on the right, where no earlier token sees the padding."""
        import torch

        width, device = max(map(len, rows)), self._decoder.device
        ids_bt = torch.tensor([ids + [0] * (width - len(ids)) for ids in rows], device=device)
        mask_bt = torch.tensor([[1] * (n_before + len(ids)) + [0] * (width - len(ids)) for ids in rows], device=device)
        inputs = {"input_ids": ids_bt, "attention_mask": mask_bt, "past_key_values": cache, "use_cache": True}
        states = self._decoder(**inputs, output_hidden_states=True).hidden_states
        return torch.stack([states[layer] for layer in layers])
