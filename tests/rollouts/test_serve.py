"""The server's command is made from the run's own overrides."""

import json
import shlex
import socket

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.rollouts import serve
from cada_trl.rollouts.serve import address, main, server_command
from cada_trl.rollouts.vllm_plugin import BACKEND

SERVER = "rollout=vllm_server"


def _options(*overrides):
    words = server_command(load_config([SERVER, *overrides]), "the model")[3:]
    return {word: following for word, following in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}


@pytest.mark.parametrize(
    ("words", "backend", "dtype", "eager"),
    [
        (["model=smollm2"], BACKEND, "float32", True),  # weights from shared memory
        (["model=llama3", "hardware=gpu"], "nccl", "bfloat16", False),
    ],
)
def test_a_server_takes_weights_as_its_device_can_in_the_trainings_dtype(words, backend, dtype, eager):
    options, model = _options(*words), load_config(words).model
    assert json.loads(options["--weight-transfer-config"]) == {"backend": backend}
    assert (options["--dtype"], options["--max-model-len"]) == (dtype, str(model.context_tok))
    assert (options["--host"], options["--port"], options["--model"]) == ("127.0.0.1", "8000", "the model")
    assert ("--enforce-eager" in options) == ("--no-enable-chunked-prefill" in options) == eager
    assert options.get("--revision") == (model.revision if model.source == "hub" else None)
    assert options["--logprobs-mode"] == "processed_logprobs"  # of the sampled distribution


def test_a_dry_run_prints_the_command_and_starts_nothing(capsys):
    assert main([SERVER, "server_url=http://127.0.0.1:8123", "--dry-run"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:2] == ["VLLM_SERVER_DEV_MODE=1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"]
    assert words[words.index("--port") + 1] == "8123"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "https://x:1", "http://x", "http://x:port"])
def test_another_form_of_the_address_is_refused(url):
    with pytest.raises(UserError, match=r"expected (an address, as in )?http://"):
        address(load_config([SERVER, f"server_url='{url}'"]))


def test_one_of_several_servers_is_started_at_a_time():
    with pytest.raises(UserError, match="give it one of the run's, as in server_url=http://a:1"):
        main([SERVER, "server_url=[http://a:1,http://b:2]"])


def test_for_lora_a_server_takes_adapters_and_no_weights_and_its_model_is_split_as_asked():
    options = _options("peft=lora", "rank=20", "tensor_parallel=2")
    assert options["--max-lora-rank"] == "32" and "--enable-lora" in options
    assert "--weight-transfer-config" not in options
    assert options["--tensor-parallel-size"] == "2"
    assert "--enable-lora" not in _options() and _options()["--tensor-parallel-size"] == "1"
    with pytest.raises(UserError, match="rank=513; vLLM takes LoRA adapters of rank 512 at most"):
        _options("peft=lora", "rank=513")


def test_a_models_own_code_runs_in_the_server_where_it_may_in_the_training():
    trusting = load_config([SERVER, "model=llama3", "data=paper", "trust_remote_code=true"])
    assert "--trust-remote-code" in server_command(trusting, "model")
    assert "--trust-remote-code" not in server_command(load_config([SERVER]), "model")


def test_a_run_without_a_server_needs_none():
    with pytest.raises(UserError, match="rollout=vllm_colocate needs no server"):
        main(["rollout=vllm_colocate"])


def test_a_port_that_is_taken_is_one_line(monkeypatch):
    monkeypatch.setattr(serve, "check_installed", lambda device: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"server_url={url} cannot be served"):
            main([SERVER, f"server_url={url}"])
