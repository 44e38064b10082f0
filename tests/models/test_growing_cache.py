"""The cache that grows in blocks holds what transformers' own holds."""

from __future__ import annotations

import torch
from transformers import DynamicCache

from cada_trl.models.growing_cache import BLOCK_TOK, growing_cache


def state(n_rows: int, n_tok: int) -> torch.Tensor:
    return torch.randn(n_rows, 2, n_tok, 4)


def test_it_returns_what_transformers_own_cache_returns() -> None:
    torch.manual_seed(0)
    ours, own = growing_cache(), DynamicCache()
    for n_tok in (5, 1, 1, BLOCK_TOK, 1, 3 * BLOCK_TOK, 1):
        keys, values = state(3, n_tok), state(3, n_tok)
        got, expected = ours.update(keys, values, 0), own.update(keys, values, 0)
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
        assert ours.get_seq_length() == own.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == own.get_mask_sizes(1, 0)


def test_rows_that_are_left_out_are_gone_and_repeated_ones_are_copies() -> None:
    torch.manual_seed(0)
    cache, keys, values = growing_cache(), state(3, 5), state(3, 5)
    cache.update(keys, values, 0)
    cache.batch_select_indices(torch.tensor([2, 0, 0]))
    more = state(3, 1)
    got, _ = cache.update(more, more, 0)
    assert torch.equal(got, torch.cat([keys[[2, 0, 0]], more], dim=2))


def test_a_new_token_is_written_in_place() -> None:
    cache = growing_cache()
    before, _ = cache.update(state(1, 5), state(1, 5), 0)
    after, _ = cache.update(state(1, 1), state(1, 1), 0)
    assert after.data_ptr() == before.data_ptr()
