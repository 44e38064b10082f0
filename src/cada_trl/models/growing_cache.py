"""A key-value cache that grows in blocks: transformers' own copies every key and value at every new token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

BLOCK_TOK = 128


class GrowingLayer(DynamicLayer):
    """keys and values are views of the filled part of larger buffers."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [B, H, n, D]; returns what is filled."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._n_tok = 0
            self._buffers = [state[:, :, :0] for state in (key_states, value_states)]
        end = self._n_tok + key_states.shape[2]
        if end > self._buffers[0].shape[2]:
            self._buffers = [self._longer(buffer, end + BLOCK_TOK) for buffer in self._buffers]
        for buffer, state in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._n_tok : end] = state
        self._n_tok = end
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row may come several times."""
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self._show()

    def _longer(self, buffer: Tensor, n_tok: int) -> Tensor:
        longer = buffer.new_empty((*buffer.shape[:2], n_tok, buffer.shape[3]))
        longer[:, :, : self._n_tok] = buffer[:, :, : self._n_tok]
        return longer

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (buffer[:, :, : self._n_tok] for buffer in self._buffers)
        return self.keys, self.values


def growing_cache() -> Cache:
    """An empty cache; its layers come with the first forward pass."""
    return Cache(layer_class_to_replicate=GrowingLayer)
