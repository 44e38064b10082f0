"""Greedy decoding with transformers: batches of like length, cut by a token budget, shrinking as rows end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation.generator import GenerationSettings
from cada_trl.models.cpu_decoding import decoding_attention
from cada_trl.models.load import load_policy
from cada_trl.models.sampling import continued, most_likely

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
                    chosen = [prompts[row] for row in rows]
                    answers = continued(model, chosen, most_likely, self._ends, settings.max_new_tok)
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
