"""Greedy decoding with transformers: batches of like length, cut by a token budget, that shrink as their rows finish.

Not model.generate, which runs every row until the last one ends: a refusal of 30 tokens would cost as much as the
longest answer of its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation.generator import GenerationSettings
from cada_trl.models.decoding import decoding_attention
from cada_trl.models.load import load_policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TransformersEngine:
    """An Engine on one GPU, or on the CPU where there is none."""

    def __init__(
        self,
        model: ModelConfig,
        settings: GenerationSettings,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
    ) -> None:
        self._config, self._settings, self._tokenizer, self._ends = model, settings, tokenizer, ends
        self._model: PreTrainedModel | None = None

    def complete(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """As Engine.complete. Errors: UserError when a batch does not fit into the GPU's memory."""
        model, settings = self._loaded(), self._settings
        with decoding_attention(model):
            for rows in batches([len(ids) for ids in prompts], settings.max_new_tok, settings.batch_tok):
                try:
                    answers = greedy(model, [prompts[row] for row in rows], self._ends, settings.max_new_tok)
                    yield from ((rows[place], ids) for place, ids in answers)
                except torch.OutOfMemoryError as error:
                    raise UserError(
                        f"no GPU memory for {len(rows)} sequences at once; lower batch_tok={settings.batch_tok}"
                    ) from error

    def close(self) -> None:
        """Free the weights."""
        self._model = None

    def _loaded(self) -> PreTrainedModel:
        if self._model is None:
            if self._settings.threads:
                torch.set_num_threads(self._settings.threads)
            model: Any = load_policy(self._config, self._tokenizer).eval()
            self._model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        return self._model


def batches(lengths: Sequence[int], max_new_tok: int, batch_tok: int) -> list[list[int]]:
    """Rows of each batch, longest prompts first, so that what does not fit into the memory shows at once.

    A batch of n rows holds at most n x (its longest prompt + max_new_tok) <= batch_tok tokens, or one row.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    cut: list[list[int]] = []
    while order:
        size = max(1, batch_tok // (lengths[order[0]] + max_new_tok))
        cut.append(order[:size])
        order = order[size:]
    return cut


@torch.inference_mode()
def greedy(
    model: PreTrainedModel, prompts: Sequence[list[int]], ends: frozenset[int], max_new_tok: int
) -> Iterator[tuple[int, list[int]]]:
    """(row, new token ids) as each row meets an end token; the rows that are left at max_new_tok come last.

    A finished row leaves the batch with its keys and values, and the others go on without it.
    """
    from transformers import DynamicCache

    cache: Any = DynamicCache(config=model.config)
    ids, mask = _left_padded(prompts, model.device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    rows = list(range(len(prompts)))
    said: list[list[int]] = [[] for _ in prompts]
    for _ in range(max_new_tok):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        token_b = output.logits[:, -1].argmax(-1)
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


def _left_padded(prompts: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T]; the pad's id is never read, since masks and positions come from lengths."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
    return ids, mask
