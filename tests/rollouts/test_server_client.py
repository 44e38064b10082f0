"""What the trainer says to a vLLM server, against a stand-in for its HTTP answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trl.generation.vllm_client import VLLMClient

from cada_trl.errors import UserError
from cada_trl.rollouts.server_client import ServerClient, SharedMemoryClient
from cada_trl.rollouts.vllm_plugin import BACKEND

METRICS = """# HELP vllm:prefix_cache_hits_total Prefix cache hits
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 300.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 100.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 256.0
vllm:prefix_cache_hits_created{engine="0",model_name="m"} 1.7e+09
"""


def _client(kind: type[ServerClient], **attributes: Any) -> Any:
    client = object.__new__(kind)  # the constructor wants a server
    vars(client).update({"base_url": "http://here", "_updating_weights": False, **attributes})
    return client


def test_each_prompt_has_a_seed_of_its_own_and_room_for_those_of_its_completions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def generate(self: Any, prompts: Any, n: int, generation_kwargs: Any, **_: Any) -> dict[str, Any]:
        seed = generation_kwargs["seed"]
        return {"prompt_ids": prompts, "completion_ids": [[prompts[0][0], seed + i] for i in range(n)]}

    monkeypatch.setattr(VLLMClient, "generate", generate)
    answer = _client(ServerClient).generate(prompts=[[7], [8], [9]], n=2, generation_kwargs={"seed": 100})
    assert answer["prompt_ids"] == [[7], [8], [9]]
    assert answer["completion_ids"] == [[7, 100], [7, 101], [8, 102], [8, 103], [9, 104], [9, 105]]


def test_the_prefix_cache_is_counted_over_all_engines() -> None:
    session = SimpleNamespace(get=lambda url: SimpleNamespace(text=METRICS))
    assert _client(ServerClient, session=session).prefix_counts() == (256, 400)


def test_the_prompts_log_probabilities_start_at_its_second_token() -> None:
    def get_sequence_logprobs(sequences: Any, prompt_lengths: Any, top_logprobs: int) -> dict[str, Any]:
        assert (sequences, prompt_lengths) == ([[5, 6, 7]], [1])
        return {"actual_logprobs": [[[-0.5], [-1.5]]]}

    client = _client(ServerClient, get_sequence_logprobs=get_sequence_logprobs)
    assert client.prompt_logp([5, 6, 7]) == [-0.5, -1.5]


@pytest.mark.parametrize("transfer", [None, {"backend": "nccl"}])
def test_a_server_without_the_transfer_engine_is_refused_with_the_command(transfer: Any) -> None:
    client = _client(SharedMemoryClient, get_server_info=lambda: {"weight_transfer_config": transfer})
    with pytest.raises(UserError, match=r"start it with `python -m cada_trl\.rollouts\.serve`"):
        client.init_communicator("cpu")


def test_a_server_with_the_engine_is_taken() -> None:
    posted: list[str] = []
    info = {"weight_transfer_config": {"backend": BACKEND}}
    client = _client(SharedMemoryClient, get_server_info=lambda: info, _post=lambda url, json: posted.append(url))
    client.init_communicator("cpu")
    assert posted == ["http://here/init_weight_transfer_engine"]


def test_the_server_is_given_every_weight_as_it_was_when_it_was_passed() -> None:
    seen: list[Any] = []

    def post(url: str, json: Any) -> None:
        path = json.get("update_info", {}).get("path")
        seen.append((url.rpartition("/")[2], load_file(path) if path else None))

    def merged_one_after_the_other() -> Any:
        buffer = torch.zeros(2)
        for name, value in (("a", 1.0), ("b", 2.0)):
            buffer.fill_(value)
            yield name, buffer
        buffer.fill_(99.0)

    _client(SharedMemoryClient, _post=post).update_named_params([], merged_one_after_the_other())
    assert [route for route, _ in seen] == ["start_weight_update", "update_weights", "finish_weight_update"]
    assert {name: weight.tolist() for name, weight in seen[1][1].items()} == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
