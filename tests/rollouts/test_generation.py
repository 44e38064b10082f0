"""TRL's generation class and client of a server: replaced only while a trainer is built; stale weights are one line."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from training.tiny import tiny_llama
from trl.generation.vllm_client import VLLMClient

from cada_trl.errors import UserError
from cada_trl.rollouts.generation import (
    TOLERANCE_NATS,
    AdapterClient,
    ServerClient,
    SharedMemoryClient,
    checked_gap_nats,
    checked_generation,
    trainer_logp,
)
from cada_trl.rollouts.vllm_plugin import BACKEND


def test_without_vllm_nothing_of_it_is_imported():
    with checked_generation(False, "folder"):
        assert "cada_trl.rollouts.in_vllm" not in sys.modules


def test_trl_still_has_the_names_that_are_replaced():
    from trl.generation import vllm_generation
    from trl.trainer import grpo_trainer, rloo_trainer

    for trainer in (grpo_trainer, rloo_trainer):
        assert trainer.VLLMGeneration is vllm_generation.VLLMGeneration
    assert hasattr(vllm_generation, "VLLMClient")


IDS = [1, 20, 21, 22, 30, 2]


def test_the_trainers_log_probabilities_are_those_of_each_next_token():
    model = tiny_llama()
    logits_tv = model(input_ids=torch.tensor([IDS])).logits[0]
    wanted = [logits_tv[t].log_softmax(-1)[IDS[t + 1]].item() for t in range(len(IDS) - 1)]
    assert trainer_logp(model, IDS) == pytest.approx(wanted, abs=1e-6)


def test_the_trainers_log_probabilities_have_no_dropout_and_training_goes_on():
    model = get_peft_model(
        tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.9, init_lora_weights=False)
    )
    wanted = trainer_logp(model.eval(), IDS)
    assert trainer_logp(model.train(), IDS) == wanted and model.training


def test_the_gap_is_the_mean_of_the_absolute_differences_and_equal_weights_have_none():
    assert checked_gap_nats([-1.0, -2.0], [-1.1, -1.9], torch.bfloat16, "vLLM") == pytest.approx(0.1)
    logp = trainer_logp(tiny_llama(), IDS)
    assert checked_gap_nats(logp, trainer_logp(tiny_llama(), IDS), torch.float32, "vLLM") == 0.0


def test_weights_that_one_update_has_left_behind_are_found():
    trained = tiny_llama()
    stale = trainer_logp(trained, IDS)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=5e-5)
    trained(input_ids=torch.tensor([IDS]), labels=torch.tensor([IDS])).loss.backward()
    optimizer.step()
    with pytest.raises(UserError) as error:
        checked_gap_nats(trainer_logp(trained, IDS), stale, torch.float32, "vLLM")
    assert "vLLM does not have the trainer's weights after a sync" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", list(TOLERANCE_NATS))
def test_a_log_probability_that_is_no_number_is_a_gap(dtype):
    with pytest.raises(UserError, match="differ by nan"):
        checked_gap_nats([-1.0, -2.0], [-1.0, math.nan], dtype, "vLLM")


def test_a_score_that_is_missing_is_no_agreement():
    with pytest.raises(ValueError, match="shorter"):
        checked_gap_nats([-1.0, -2.0], [-1.0], torch.float32, "vLLM")


METRICS = """# HELP vllm:prefix_cache_hits_total Prefix cache hits
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 300.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 100.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 256.0
vllm:prefix_cache_hits_created{engine="0",model_name="m"} 1.7e+09
"""


def _client(kind, **attributes):
    client = object.__new__(kind)  # the constructor wants a server
    vars(client).update({"base_url": "http://here", "name": "the server", "_updating_weights": False, **attributes})
    vars(client).setdefault("servers", [client])
    return client


def test_each_prompt_has_a_seed_of_its_own_and_room_for_those_of_its_completions(monkeypatch):
    def generate(self, prompts, n, generation_kwargs, **_):
        seed = generation_kwargs["seed"]
        return {"prompt_ids": prompts, "completion_ids": [[prompts[0][0], seed + i] for i in range(n)]}

    monkeypatch.setattr(VLLMClient, "generate", generate)
    answer = _client(ServerClient).generate(prompts=[[7], [8], [9]], n=2, generation_kwargs={"seed": 100})
    assert answer["prompt_ids"] == [[7], [8], [9]]
    assert answer["completion_ids"] == [[7, 100], [7, 101], [8, 102], [8, 103], [9, 104], [9, 105]]


@pytest.mark.parametrize(("n_prompts", "shares"), [(4, [2, 2]), (5, [3, 2]), (1, [1, 0])])
def test_servers_share_the_prompts_in_their_order_and_the_seeds_stay(monkeypatch, n_prompts, shares):
    def generate(self, prompts, n, generation_kwargs, **_):
        return {"answers": [(self, prompts[0], generation_kwargs["seed"])]}

    monkeypatch.setattr(VLLMClient, "generate", generate)
    other = _client(ServerClient)
    first = _client(ServerClient, servers=[])
    first.servers += [first, other]
    answers = first.generate(prompts=list(range(n_prompts)), n=1, generation_kwargs={"seed": 100})["answers"]
    assert answers == [(server, row, 100 + row) for row, server in enumerate([first] * shares[0] + [other] * shares[1])]


def test_a_server_that_is_gone_is_named_in_one_line(monkeypatch):
    from requests import RequestException

    def gone(*_, **__):
        raise RequestException("refused\nand more")

    for method in ("__init__", "_post"):
        monkeypatch.setattr(VLLMClient, method, gone)
    with pytest.raises(UserError, match=r"the vLLM server at http://a does not answer; start it first: ") as error:
        ServerClient("http://a http://b", 1)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="the server does not answer, or fails") as error:
        _client(ServerClient)._post("http://here/v1/completions")
    assert "\n" not in str(error.value)


class _Session:
    def __init__(self, status):
        self.status, self.posted = status, []

    def post(self, url, json):
        self.posted.append((url.rpartition("/")[2], json["lora_name"]))
        return SimpleNamespace(status_code=self.status, text="no such folder")


def test_each_adapter_takes_the_place_of_the_one_before_under_a_name_of_its_own():
    session = _Session(200)
    client = _client(AdapterClient, session=session, model="base", loaded=False)
    for name in ("one", "two"):
        client.load_adapter(Path("/run") / name)
        assert client.model == name
    assert session.posted == [
        ("load_lora_adapter", "one"),
        ("load_lora_adapter", "two"),
        ("unload_lora_adapter", "one"),
    ]


def test_an_adapter_that_a_server_cannot_read_is_named_and_not_sampled_with():
    client = _client(AdapterClient, session=_Session(404), model="base", loaded=False)
    with pytest.raises(UserError, match="the server cannot load the adapter in /run/one, which both must see: no such"):
        client.load_adapter(Path("/run/one"))
    assert client.model == "base"


def test_the_prefix_cache_is_counted_over_all_engines():
    session = SimpleNamespace(get=lambda url: SimpleNamespace(text=METRICS))
    assert _client(ServerClient, session=session).prefix_counts() == (256, 400)


def test_the_prompts_log_probabilities_start_at_its_second_token():
    def get_sequence_logprobs(sequences, prompt_lengths, top_logprobs):
        assert (sequences, prompt_lengths) == ([[5, 6, 7]], [1])
        return {"actual_logprobs": [[[-0.5], [-1.5]]]}

    client = _client(ServerClient, get_sequence_logprobs=get_sequence_logprobs)
    assert client.prompt_logp([5, 6, 7]) == [-0.5, -1.5]


@pytest.mark.parametrize(
    ("kind", "info", "posts"),
    [
        (AdapterClient, {"lora_config": {"max_lora_rank": 16}}, []),
        (AdapterClient, {"lora_config": None}, None),
        (SharedMemoryClient, {"weight_transfer_config": {"backend": BACKEND}}, ["init_weight_transfer_engine"]),
        (SharedMemoryClient, {"weight_transfer_config": {"backend": "nccl"}}, None),
        (SharedMemoryClient, {"weight_transfer_config": None}, None),
    ],
)
def test_a_server_that_takes_no_adapter_or_no_weights_is_refused_with_the_command(kind, info, posts):
    """posts: what is asked of a server that takes them."""
    posted = []
    client = _client(kind, get_server_info=lambda: info, _post=lambda url, json: posted.append(url.rpartition("/")[2]))
    if posts is None:
        with pytest.raises(UserError, match=r"start it with `python -m cada_trl\.rollouts\.serve`"):
            client.init_communicator("cpu")
    else:
        client.init_communicator("cpu")
        assert posted == posts


def test_the_server_is_given_every_weight_as_it_was_when_it_was_passed():
    seen = []

    def post(url, json):
        path = json.get("update_info", {}).get("path")
        seen.append((url.rpartition("/")[2], load_file(path) if path else None))

    def merged_one_after_the_other():
        buffer = torch.zeros(2)
        for name, value in (("a", 1.0), ("b", 2.0)):
            buffer.fill_(value)
            yield name, buffer
        buffer.fill_(99.0)

    _client(SharedMemoryClient, _post=post).update_named_params([], merged_one_after_the_other())
    assert [route for route, _ in seen] == ["start_weight_update", "update_weights", "finish_weight_update"]
    assert {name: weight.tolist() for name, weight in seen[1][1].items()} == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
