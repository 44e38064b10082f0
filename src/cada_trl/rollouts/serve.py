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
from cada_trl.models.vllm import CPU_KV_CACHE_GIB
from cada_trl.rollouts.vllm_plugin import BACKEND, check_installed, set_environment


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError for another backend, a port that is taken, vLLM absent or untested."""
    config = load_config([word for word in argv if word != "--dry-run"])
    if config.rollout.backend != "vllm_server":
        raise UserError(f"rollout={config.rollout.backend} needs no server; give the run's rollout=vllm_server")
    host, port = address(config)
    if "--dry-run" in argv:
        print(f"VLLM_SERVER_DEV_MODE=1 {shlex.join(server_command(config, config.model.path))}")
        return 0
    check_installed(config.hardware.device)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"server_url={config.rollout.server_url} cannot be served: {error.strerror}") from error
    from cada_trl.models.load import resolve_model

    set_environment(config.hardware.device)
    os.environ.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # a server's engine is a process of its own
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # the routes by which TRL syncs weights
    if config.hardware.threads:
        os.environ["OMP_NUM_THREADS"] = str(config.hardware.threads)
    command = server_command(config, resolve_model(config.model))
    os.execv(command[0], command)


def address(config: Config) -> tuple[str, int]:
    """Host and port of server_url. Errors: UserError for another form than http://host:port."""
    try:
        parts = urlsplit(config.rollout.server_url or "")
        if parts.scheme == "http" and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise UserError(f"server_url={config.rollout.server_url}; expected http://host:port, such as http://127.0.0.1:8000")


def server_command(config: Config, model: str) -> list[str]:
    """vLLM's own server with what TRL needs of it; weights by NCCL on GPUs, by shared memory without."""
    host, port = address(config)
    cpu = config.hardware.device == "cpu"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    if config.model.source == "hub" and config.model.revision:
        command += ["--revision", config.model.revision]
    command += ["--host", host, "--port", str(port)]
    command += ["--dtype", "bfloat16" if config.hardware.bf16 else config.model.dtype]
    command += ["--max-model-len", str(config.model.context_tok), "--generation-config", "vllm"]
    command += ["--enable-prefix-caching", "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]
    command += ["--weight-transfer-config", json.dumps({"backend": BACKEND if cpu else "nccl"})]
    if cpu:
        command += ["--no-enable-chunked-prefill"]  # as in_vllm.py: a seed cannot be set back
        command += ["--enforce-eager", "--kv-cache-memory-bytes", str(CPU_KV_CACHE_GIB << 30)]
    return command


if __name__ == "__main__":
    run_verb(main)
