"""How a run's processes are started: environment for one process, the accelerate command for several."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cada_trl.config import Config, ModelConfig
from cada_trl.errors import UserError, run_verb
from cada_trl.planning.device import lacking_gpus, launch_file, n_machines, vllm_install_command, zero_stage
from cada_trl.stopping import end_with_parent, libc, run_ranks

MACHINE_VARIABLES = ("NODE_RANK", "MASTER_ADDR")
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
MASTER_PORT = 29500  # torch's default
STARTED = "CADA_TRL_STARTED"  # marks what launch() starts: accelerate sets no LOCAL_RANK for distributed_type "NO"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def set_environment(threads: int) -> None:
    """Before torch is imported: CPU threads (0 leaves the library's choice), and how they wait and take memory.

    Spinning OpenMP threads take the cores that another process needs; without a fraction of a millisecond of it, waking
    them costs a fifth of a training step.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    _keep_freed_memory()
    # oneDNN keeps the code of the last 1,024 products, by shape. A step's shapes hardly come again, and cost it 12 MB.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "64")  # torch's cache of the same
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer's use to the hub otherwise
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _keep_freed_memory() -> None:
    """glibc gives a freed tensor's memory back to the system, which clears it anew for the next one: a third of a step
    on a CPU. Kept, it is used again at once. Other systems have no mallopt, or one that does nothing."""
    mallopt = libc("mallopt")
    if mallopt is not None:
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(option, 2**31 - 1)


_KNOWN_NOISE = {
    # vLLM's CPU build comes without it.
    "vllm.triton_utils.importing": "`triton.backends` could not be imported",
    # An empty final response is unscored on purpose, and TRL prints its whole prompt for each.
    "trl.trainer.grpo_trainer": "All reward functions returned None",
    # accelerate imports DeepSpeed wherever it is installed, used or not.
    "DeepSpeed": "Setting accelerator to CPU",
    # DeepSpeed has the trainer's number, as it should.
    "accelerate.accelerator": "Gradient accumulation steps mismatch",
    # Llama 3's tokenizer asks for a clean-up of decoded text that nobody wants; nothing is cleaned.
    "transformers.tokenization_utils_tokenizers": "Ignoring clean_up_tokenization_spaces=True for BPE",
    # Checkpoints are numbered, so the order by number is the right one.
    "transformers.trainer_utils": "mtime may not be reliable",
    # A head that is tied to the embedding is in no checkpoint; what is in one is checked by its hash.
    "transformers.trainer": "missing keys in the checkpoint model loaded: ['lm_head.weight']",
}


def quiet_libraries() -> None:
    """Drop loading bars and the known warnings above, by their text: every other message still shows."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # read when it is imported, which takes a second
    # DeepSpeed calls torch's collectives by names that torch has renamed.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    for logger in _KNOWN_NOISE:
        logging.getLogger(logger).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return _KNOWN_NOISE[record.name] not in record.getMessage()


def run_rank(verb: Callable[[list[str]], int]) -> None:
    """run_verb. A rank ends without taking the interpreter down, where gloo's threads abort it now and then: a run that
    was done, or asked to stop, would end with 134 (ours: seen once in some hundred runs of several ranks on CPUs)."""
    try:
        run_verb(verb)
    except SystemExit as end:
        if not is_launched():
            raise
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(int(end.code or 0))


def is_launched() -> bool:
    """Whether accelerate or torchrun started this process."""
    return "LOCAL_RANK" in os.environ or STARTED in os.environ


def end_with_launcher() -> None:
    """A rank of a launcher that is killed would wait for the others for ever, with the run's lock; the kernel ends it.

    A scheduler that kills by process group misses torchrun's ranks, which have their own.
    """
    if is_launched():
        end_with_parent()


def check_world(config: Config) -> None:
    """Errors: UserError where the environment's ranks are no n_processes: those of another job, too few or too many."""
    n = config.hardware.n_processes
    given = {name: os.environ[name] for name in RANK_VARIABLES if name in os.environ}
    ranks = {str(rank) for rank in range(n)}
    is_rank = given.get("WORLD_SIZE") == str(n) and {given.get("RANK"), given.get("LOCAL_RANK")} <= ranks
    is_first = given in ({}, {"RANK": "0", "WORLD_SIZE": "1"})  # the second: a pod of one, as Kubeflow starts it
    if is_rank or (is_first and (n == 1 or not is_launched())):
        return
    if is_first:
        raise UserError(f"n_processes={n}, and one process was started alone; see the launch file's distributed_type")
    seen = " ".join(f"{name}={value}" for name, value in given.items())
    raise UserError(
        f"{seen} in the environment, and n_processes={n}; unset what another job left there, or start as many "
        "processes as n_processes says"
    )


def launcher_command(config: Config, overrides: list[str]) -> list[str]:
    """The command that runs the verb: python, or accelerate with the hardware's own file."""
    verb = ["-m", "cada_trl.train", *overrides]
    if config.hardware.launcher == "python":
        return ["python", *verb]
    file = ["--config_file", str(launch_file(config.hardware))]
    return ["accelerate", "launch", *file, *_meeting_place(config), *verb]


def _meeting_place(config: Config) -> list[str]:
    """What differs by machine, from the variables of torch's launchers; a dry run names those that are not set.

    On one machine the port, where MASTER_PORT gives one: accelerate does not read it, and runs side by side need two.
    """
    given = os.environ.get("MASTER_PORT")
    if n_machines(config.hardware) == 1:
        return ["--main_process_port", given] if given else []
    rank, address = (os.environ.get(name, name) for name in MACHINE_VARIABLES)
    port = given or str(MASTER_PORT)
    return ["--machine_rank", rank, "--main_process_ip", address, "--main_process_port", port]


def launch(config: Config, overrides: list[str]) -> int:
    """Start this machine's processes and wait; returns their exit code. A rank that dies ends them all, not with 0.

    Errors: UserError where several machines share the run and this one is not told which it is, and without DeepSpeed
    where the launch file uses it.
    """
    unset = [name for name in MACHINE_VARIABLES if name not in os.environ]
    if n_machines(config.hardware) > 1 and unset:
        raise UserError(
            f"{n_machines(config.hardware)} machines share this run and {', '.join(unset)} is not set here; "
            "start it on each with launch/slurm.sh, or set them as docs/running.md says"
        )
    if lacks := _lacks_deepspeed(config):
        raise UserError(lacks)
    command = [sys.executable, "-m", "cada_trl.launching", *launcher_command(config, overrides)[1:]]
    return run_ranks(command, {**os.environ, STARTED: "1"})


def _accelerate(_: list[str]) -> int:
    """accelerate's command line in this process; returns the exit code of the first rank that failed, where accelerate
    shows torchrun's traceback instead and ends with 1. The rank has said why; one that was killed could not."""
    from accelerate.commands.accelerate_cli import main
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f"rank {rank} was ended by {signal.Signals(-failure.exitcode).name}", file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except subprocess.CalledProcessError as error:  # accelerate's way where the launch file has distributed_type NO
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    return 0


def absent(config: Config) -> list[str]:
    """What has to be there before the run starts, and is not."""
    found = (lacking_gpus(config.hardware.device, _gpus_wanted(config)), _lacks_deepspeed(config))
    lacks = [lack for lack in found if lack]
    if config.rollout.backend != "transformers" and importlib.util.find_spec("vllm") is None:
        lacks.append(f"vllm is not installed: {vllm_install_command(config.hardware.device)}")
    if config.model.gated and _is_to_fetch(config.model):
        from huggingface_hub import get_token

        if get_token() is None:
            lacks.append(f"{config.model.path} is gated: accept its licence on the hub, then `hf auth login`")
    if config.model.source == "folder" and not Path(config.model.path).expanduser().is_dir():
        lacks.append(f"path={config.model.path} is no folder; expected the model's weights and tokenizer there")
    return lacks


def check_launch(config: Config) -> None:
    """Errors: UserError for a training that rounds most of its steps away: DeepSpeed keeps float32 weights beside those
    in bfloat16, and an adapter's are float32. And for what DeepSpeed's ranks cannot do: vLLM takes their weights only
    while they train, and ZeRO-3 splits every model that is loaded."""
    algo, judge, stage = config.algo, config.judge, zero_stage(config.hardware)
    if config.peft.adapter == "none" and config.model.dtype == "bfloat16" and not stage:
        raise UserError(
            "dtype=bfloat16 rounds the optimiser's small steps away; set dtype=float32 (bf16=true computes in bfloat16 "
            "all the same), or peft=lora"
        )
    samples_targets = algo.targets == "own" or (algo.targets and algo.benign_per_step)
    if stage and samples_targets and config.rollout.backend != "transformers":
        raise UserError(
            f"method={algo.method} samples its targets before it trains, and under DeepSpeed vLLM has no weights by "
            f"then; set rollout=transformers instead of {config.rollout.backend}"
        )
    if stage == 3 and judge.llm and not judge.base_url:
        raise UserError(
            f"{judge.llm} would be loaded in this process, where ZeRO-3 splits it; give the base_url of "
            f"`vllm serve {judge.llm}`, such as base_url=http://localhost:8000/v1"
        )


def check_gpus(config: Config) -> None:
    """Errors: UserError where the run wants more GPUs than are here. A started rank need not see all of them."""
    lack = None if is_launched() else lacking_gpus(config.hardware.device, _gpus_wanted(config))
    if lack:
        raise UserError(f"{lack}; choose another hardware=, such as cpu (docs/running.md)")


def _gpus_wanted(config: Config) -> int:
    return config.hardware.n_processes // n_machines(config.hardware)


def _lacks_deepspeed(config: Config) -> str | None:
    if zero_stage(config.hardware) and importlib.util.find_spec("deepspeed") is None:
        return "deepspeed is not installed: pip install 'cada_trl[deepspeed]'"
    return None


def fetched(config: Config) -> list[str]:
    """What the run fetches from the network when it starts."""
    fetches, model = [], config.model
    if _is_to_fetch(model):
        fetches.append(f"{model.path} is not in the hub's cache: the first run fetches it from the network")
    if config.data.dataset == "beavertails" and config.data.file is None:
        fetches.append(f"the hub is needed for {config.data.hub_id} (or file=<BeaverTails JSONL>)")
    return fetches


def _is_to_fetch(model: ModelConfig) -> bool:
    """A gated model's copy, a folder or in the cache, needs no token."""
    if model.source != "hub":
        return False
    from huggingface_hub import try_to_load_from_cache

    return not isinstance(try_to_load_from_cache(model.path, "config.json", revision=model.revision), str)


if __name__ == "__main__":
    run_verb(_accelerate)
