"""Trainings on two ranks under ZeRO beside real vLLM servers: whole weights and adapters, each server checked."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from end_to_end.run_process import finish, manifest, start
from end_to_end.tiny_model import save_tiny_model, tiny_overrides

from cada_trl.records import read_jsonl

from .conftest import NEEDS_VLLM

pytestmark = [
    *NEEDS_VLLM,
    pytest.mark.timeout(1800),  # up to eight processes on two cores
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs the extra [deepspeed]"),
]
# Heads that vLLM's CPU attention has a kernel for, and matrices of more numbers than ZeRO-3 leaves whole.
SHAPE = {"hidden_size": 400, "intermediate_size": 800, "head_dim": 32}
ZERO = ["launcher=accelerate", "n_processes=2", "micro_batch=1"]
NO_PROBES = ["n_probe_harmful=0", "n_probe_harmless=0", "n_header_pairs=0", "header_every_steps=0"]
# As the verb, with a cache of 64 MiB.
SERVE = "from cada_trl.rollouts import serve; serve.CPU_KV_CACHE_GIB = 1 / 16; serve.run_verb(serve.main)"


def _zero(stage):
    return [*ZERO, f"accelerate_config=launch/cpu_zero{stage}.yaml"]


def _served(urls):
    return ["rollout=vllm_server", f"server_url=[{','.join(urls)}]"]


@contextmanager
def servers(folder, *words):
    """Of a server for each list of a run's words its address."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{free.getsockname()[1]}" for free in (one, other)][: len(words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "servers.log").open("w") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", SERVE, *own, "rollout=vllm_server", f"server_url={url}"],
                env=environment,
                stdout=log,
                stderr=log,
            )
            for own, url in zip(words, urls, strict=True)
        ]
        try:
            for url, process in zip(urls, started, strict=True):
                _wait(url, process)
            yield urls
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def _wait(url, process):
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(1)
    raise TimeoutError(url)


def _n_sampled(url):
    lines = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total"))


def _trained(folder, name, words):
    told = [
        word
        for word in words
        if not word.startswith(("run_name=", "n_probe", "n_header_pairs=", "header_every_steps="))
    ]
    code, said = finish(start([*told, f"run_name={name}", *NO_PROBES]))
    return code, said, folder / "runs" / name


def _is_sound(run):
    rows = [row for _, row in read_jsonl(run / "train.jsonl")]
    assert [row["step"] for row in rows] == [1, 2] and manifest(run)["exit_state"] == "done"
    assert all(row["train/sync_gap_nats"] < 1e-4 for row in rows)


def _first_rollouts(run):
    return [row["completion"] for _, row in read_jsonl(run / "completions" / "step_000001.jsonl")]


def test_weights_that_zero_splits_reach_a_server_that_splits_them_too_and_two_servers_sample_as_one(tmp_path):
    words = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model", **SHAPE))
    with servers(tmp_path, [*words, "tensor_parallel=2"], words) as urls:
        code, said, one = _trained(tmp_path, "one", [*words, *_zero(2), *_served(urls[:1])])
        assert code == 0, said
        before = [_n_sampled(url) for url in urls]
        code, said, two = _trained(tmp_path, "two", [*words, *_zero(3), *_served(urls)])
        assert code == 0, said
        assert all(_n_sampled(url) > n for url, n in zip(urls, before, strict=True))
    for run in (one, two):
        _is_sound(run)
    assert _first_rollouts(one) == _first_rollouts(two) != []


def test_an_adapter_reaches_a_server_alone_and_a_server_of_another_model_ends_the_run(tmp_path):
    model, other = (save_tiny_model(tmp_path / f"model{seed}", seed=seed, **SHAPE) for seed in (0, 1))
    words, others = ([*tiny_overrides(tmp_path, path), "peft=lora"] for path in (model, other))
    with servers(tmp_path, words, others) as urls:
        code, said, run = _trained(tmp_path, "adapter", [*words, *_zero(3), *_served(urls[:1])])
        assert code == 0, said
        _is_sound(run)
        assert not list(run.glob("checkpoints/adapter_*"))
        code, said, _ = _trained(tmp_path, "mixed", [*words, *_served(urls)])
    assert code not in {0, 75}
    assert f"error: the vLLM server at {urls[1]} does not have the trainer's weights after a sync" in said
