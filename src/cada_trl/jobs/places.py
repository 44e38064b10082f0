"""Where cells run side by side: disjoint GPUs or disjoint cores, and a port of their own. No torch."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cada_trl.config import Config
from cada_trl.errors import UserError


@dataclass(frozen=True)
class Place:
    """A part of this machine. cores: None leaves all of them; prefix: what a command line begins with there."""

    env: Mapping[str, str]
    cores: tuple[int, ...] | None = None

    @property
    def prefix(self) -> list[str]:
        return [] if self.cores is None else ["taskset", "--cpu-list", ",".join(map(str, self.cores))]


def places(n: int, configs: Sequence[Config]) -> list[Place]:
    """n places, each large enough for any of the configurations; one alone is the whole machine.

    Errors: UserError when the machine has too few GPUs or cores, or the cells would share a vLLM server.
    """
    if n == 1:
        return [Place({})]
    if any(config.rollout.backend == "vllm_server" for config in configs):
        raise UserError("jobs > 1 with rollout=vllm_server: a server holds one training's weights; set jobs=1")
    if any(config.hardware.device == "cuda" for config in configs):
        return _of_gpus(n, max(config.hardware.n_processes for config in configs), visible_gpus())
    return _of_cores(n, sorted(os.sched_getaffinity(0)), configs)


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(index) for index in range(len(done.stdout.splitlines()))] if done.returncode == 0 else []


def _of_gpus(n: int, each: int, gpus: Sequence[str]) -> list[Place]:
    if n * each > len(gpus):
        raise UserError(
            f"jobs={n} cells of {each} GPU(s) need {n * each}, {len(gpus)} seen; the most is jobs={len(gpus) // each}"
        )
    return [Place({"CUDA_VISIBLE_DEVICES": ",".join(gpus[at * each : (at + 1) * each])}) for at in range(n)]


def _of_cores(n: int, cores: Sequence[int], configs: Sequence[Config]) -> list[Place]:
    if n > len(cores):
        raise UserError(f"jobs={n} cells need as many cores, {len(cores)} seen; the most is jobs={len(cores)}")
    if shutil.which("taskset") is None:
        raise UserError("jobs > 1 on a CPU needs `taskset` (util-linux), which is not here; set jobs=1")
    each = len(cores) // n
    if wanting := [config.hardware.threads for config in configs if config.hardware.threads > each]:
        raise UserError(f"threads={wanting[0]} with jobs={n}: a cell has {each} of {len(cores)} cores; lower one")
    shares = [tuple(cores[at * each : (at + 1) * each]) for at in range(n)]
    return [Place({"OMP_NUM_THREADS": str(each)}, share) for share in shares]
