"""Whole weights of two ranks under ZeRO reach real vLLM servers, one of them split in two, and each is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from end_to_end.tiny_model import save_tiny_model, tiny_overrides

from cada_trl.records import read_jsonl

from .vllm_servers import NEEDED, SHAPE, is_sound, n_sampled, served, servers, trained, zero

pytestmark = NEEDED


def _first_rollouts(run: Path) -> list[Any]:
    return [row["completion"] for _, row in read_jsonl(run / "completions" / "step_000001.jsonl")]


def test_weights_that_zero_splits_reach_a_server_that_splits_them_too_and_two_servers_sample_as_one(
    tmp_path: Path,
) -> None:
    words = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model", **SHAPE))
    with servers(tmp_path, [*words, "tensor_parallel=2"], words) as urls:
        code, said, one = trained(tmp_path, "one", [*words, *zero(2), *served(urls[:1])])
        assert code == 0, said
        before = [n_sampled(url) for url in urls]
        code, said, two = trained(tmp_path, "two", [*words, *zero(3), *served(urls)])
        assert code == 0, said
        assert all(n_sampled(url) > n for url, n in zip(urls, before, strict=True))
    for run in (one, two):
        is_sound(run)
    assert _first_rollouts(one) == _first_rollouts(two) != []
