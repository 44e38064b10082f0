"""serve: the vLLM server of a run with rollout=vllm_server, started with the run's own overrides.

    python -m cada_trl.rollouts.serve model=smollm2 rollout=vllm_server          (in one terminal, to Ctrl-C)
    python -m cada_trl.train model=smollm2 rollout=vllm_server                   (in another)

`--dry-run` prints the command and starts nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from urllib.parse import urlsplit

from cada_trl.config import Config, load_config
from cada_trl.errors import UserError, run_verb
from cada_trl.planning.memory import CPU_KV_CACHE_GIB
from cada_trl.rollouts.vllm_plugin import BACKEND, adapter_options, check_installed, set_environment

# The routes by which weights are replaced, and adapters.
ROUTES = ("VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING")


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError for another backend, a port that is taken, vLLM absent or untested."""
    config = load_config([word for word in argv if word != "--dry-run"])
    if config.rollout.backend != "vllm_server":
        raise UserError(f"rollout={config.rollout.backend} needs no server; give the run's rollout=vllm_server")
    host, port = address(config)
    if "--dry-run" in argv:
        variables = " ".join(f"{name}=1" for name in ROUTES)
        print(f"{variables} {shlex.join(server_command(config, config.model.path))}")
        return 0
    check_installed(config.hardware.device)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"server_url=http://{host}:{port} cannot be served: {error.strerror}") from error
    from cada_trl.models.load import resolve_model

    set_environment(config.hardware.device == "cpu", in_training=True)
    os.environ.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # a server's engine is a process of its own
    os.environ.update(dict.fromkeys(ROUTES, "1"))
    if config.hardware.threads:
        os.environ["OMP_NUM_THREADS"] = str(config.hardware.threads)
    command = server_command(config, resolve_model(config.model))
    os.execv(command[0], command)


def address(config: Config) -> tuple[str, int]:
    """Host and port of server_url. Errors: UserError for another form than http://host:port, or several of them."""
    urls = config.rollout.server_url or []
    if len(urls) > 1:
        raise UserError(f"one server is started at a time: give it one of the run's, as in server_url={urls[0]}")
    parts = urlsplit("".join(urls))
    if parts.scheme == "http" and parts.hostname and parts.port:
        return parts.hostname, parts.port
    raise UserError(f"server_url={''.join(urls)}; expected http://host:port, such as http://127.0.0.1:8000")


def server_command(config: Config, model: str) -> list[str]:
    """vLLM's own server with what a training needs of it: weights by NCCL on GPUs, by shared memory without; of LoRA
    the adapter alone."""
    host, port = address(config)
    cpu = config.hardware.device == "cpu"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    if config.model.source == "hub" and config.model.revision:
        command += ["--revision", config.model.revision]
    command += ["--host", host, "--port", str(port)]
    command += ["--dtype", "bfloat16" if config.hardware.bf16 else config.model.dtype]
    command += ["--max-model-len", str(config.model.context_tok), "--generation-config", "vllm"]
    command += ["--enable-prefix-caching", "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]
    command += ["--tensor-parallel-size", str(config.rollout.tensor_parallel)]
    command += ["--trust-remote-code"] * config.model.trust_remote_code
    if config.peft.adapter == "lora":
        command += ["--enable-lora", "--max-lora-rank", str(adapter_options(config.peft.rank)["max_lora_rank"])]
    else:
        command += ["--weight-transfer-config", json.dumps({"backend": BACKEND if cpu else "nccl"})]
    if cpu:
        command += ["--no-enable-chunked-prefill"]  # as in_vllm.py: a seed cannot be set back
        command += ["--enforce-eager", "--kv-cache-memory-bytes", str(int(CPU_KV_CACHE_GIB * 2**30))]
    return command


if __name__ == "__main__":
    run_verb(main)
