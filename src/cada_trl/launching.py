"""How a run's processes are started: environment for one process, the accelerate command for several, and a dry run."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from cada_trl.config import CONF_DIR, Config, ModelConfig, run_name
from cada_trl.errors import UserError

ROOT = CONF_DIR.parent


def set_environment(threads: int) -> None:
    """Before torch is imported: CPU threads (0 leaves the library's choice), which do not spin while they wait.

    Spinning OpenMP threads take the cores that another process needs.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer's use to the hub otherwise
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


_KNOWN_NOISE = {
    # An empty final response is unscored on purpose, and TRL prints its whole prompt for each.
    "trl.trainer.grpo_trainer": "All reward functions returned None",
    # accelerate imports DeepSpeed wherever it is installed, used or not.
    "DeepSpeed": "Setting accelerator to CPU",
    # Checkpoints are numbered, so the order by number is the right one.
    "transformers.trainer_utils": "mtime may not be reliable",
}


def quiet_libraries() -> None:
    """Drop loading bars and the known warnings above, by their text: every other message still shows."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    for logger, text in _KNOWN_NOISE.items():
        logging.getLogger(logger).addFilter(_without(text))


def _without(text: str) -> Callable[[logging.LogRecord], bool]:
    return lambda record: text not in record.getMessage()


def is_launched() -> bool:
    """Whether accelerate or torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def is_main_rank() -> bool:
    """Whether this process is the one that writes; a single process is."""
    return os.environ.get("RANK", "0") == "0"


def launcher_command(config: Config, overrides: list[str]) -> list[str]:
    """The command that runs the verb: python, or accelerate with the hardware's own file."""
    verb = ["-m", "cada_trl.train", *overrides]
    if config.hardware.launcher == "python":
        return ["python", *verb]
    return ["accelerate", "launch", "--config_file", str(_accelerate_file(config)), *verb]


def _accelerate_file(config: Config) -> Path:
    file = config.hardware.accelerate_config
    if file is None or not (ROOT / file).is_file():
        raise UserError(f"launcher=accelerate needs accelerate_config, a file under launch/; got {file}")
    return ROOT / file


def _uses_deepspeed(config: Config) -> bool:
    if config.hardware.launcher != "accelerate":
        return False
    settings = yaml.safe_load(_accelerate_file(config).read_text(encoding="utf-8"))
    return bool(settings["distributed_type"] == "DEEPSPEED")


def launch(config: Config, overrides: list[str]) -> int:
    """Start the processes and wait; returns their exit code."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", *launcher_command(config, overrides)[1:]]
    return subprocess.run(command, check=False).returncode


def missing(config: Config) -> list[str]:
    """What this machine lacks for the run, a sentence each."""
    lacks = []
    if config.hardware.device == "cuda":
        if importlib.util.find_spec("torch") is None:
            lacks.append("torch is not installed")
        else:
            import torch

            n_gpu = torch.cuda.device_count()
            if n_gpu < config.hardware.n_processes:
                lacks.append(f"{config.hardware.n_processes} CUDA GPU(s) wanted, {n_gpu} seen")
    if _uses_deepspeed(config) and importlib.util.find_spec("deepspeed") is None:
        lacks.append("deepspeed is not installed: pip install -e '.[deepspeed]'")
    if config.rollout.backend != "transformers" and importlib.util.find_spec("vllm") is None:
        lacks.append("vllm is not installed: pip install -e '.[vllm]'")
    here_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if config.hardware.device == "cpu" and memory_gb(config) > here_gb:
        lacks.append(f"{memory_gb(config):.0f} GB of memory wanted, {here_gb:.0f} GB here: hardware=gpu or a100x4")
    if config.model.source == "hub" and not _in_hub_cache(config.model):
        lacks.append(f"{config.model.path} is not in the hub's cache: the first run fetches it from the network")
    if config.model.gated and not _hub_token():
        lacks.append(f"{config.model.path} is gated: accept its licence on the hub, then `hf auth login`")
    if config.data.dataset == "beavertails" and config.data.file is None:
        lacks.append(f"the hub is needed for {config.data.hub_id} (or file=<BeaverTails JSONL>)")
    return lacks


def memory_gb(config: Config) -> float:
    """The least that weights and optimiser take in one process; activations and the rollouts' cache come on top.

    Full fine-tuning holds five numbers a parameter (policy, gradient, Adam's two moments, reference), LoRA one.
    """
    bytes_each = 4 if config.model.dtype == "float32" else 2
    return config.model.n_params * bytes_each * (5 if config.peft.adapter == "none" else 1) / 1e9


def _in_hub_cache(model: ModelConfig) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model.path, "config.json", revision=model.revision), str)


def _hub_token() -> bool:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return bool(os.environ.get("HF_TOKEN")) or (home / "token").is_file()


def dry_run(config: Config, overrides: list[str]) -> int:
    """Print the resolved configuration, the launcher line, the run folder and what is missing; starts nothing."""
    print(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True))
    algo, hardware = config.algo, config.hardware
    n_rollouts = algo.requests_per_step * algo.rollouts_per_request
    n_micro = n_rollouts // (hardware.micro_batch * hardware.n_processes)
    print(f"launcher: {shlex.join(launcher_command(config, overrides))}")
    print(f"run folder: {Path(config.runs_dir) / run_name(config)}")
    print(
        f"a step: {n_rollouts} rollouts = {algo.requests_per_step} requests x {algo.rollouts_per_request}; "
        f"{n_micro} micro-batches of {hardware.micro_batch} on {hardware.n_processes} process(es)"
    )
    lacks = missing(config)
    print("missing here: " + ("; ".join(lacks) if lacks else "nothing"))
    return 0
