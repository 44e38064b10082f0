"""rehearse: a run from start to export in minutes, its model small and its GPUs this machine's cores.

    python -m cada_trl.rehearse model=deepthought hardware=a100x4          (the overrides of cada_trl.train)

Doctor, prepare, train, a checkpoint, SIGTERM, resume, SIGKILL, resume, evaluate, report, export: a line per stage; its
logs and rehearsal.json stand in <runs_dir>/rehearsals/<model>-<hash8>/. It fails where the run would for any reason but
memory and CUDA, and says at its end what it could not rehearse. Exit code 0, or 1 where a stage was not rehearsed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from cada_trl.config import Config, load_config
from cada_trl.config.loading import as_override
from cada_trl.config.run_config import unread_words
from cada_trl.data.request_set import check_readable
from cada_trl.errors import run_verb
from cada_trl.hazards.pack import load_pack
from cada_trl.jobs.rehearsal import Rehearsal
from cada_trl.jobs.runner import free_port
from cada_trl.judging.from_config import check_pays_reward
from cada_trl.launching import fetched, quiet_libraries, set_environment
from cada_trl.planning.device import n_machines
from cada_trl.stopping import StopSignals
from cada_trl.storage.digest import content_hash
from cada_trl.storage.files import held, replace_json, writing

RESULT = "rehearsal.json"
MAX_NEW_TOK = 40  # ours: the answer that the small model spells has 27
N_STEPS = 4  # ours: a step before each of two stops, and some after
N_PROBED = 4
# Resident memory: of a rank by its adapter (as measured; LoRA's were 2 to 3), and what a colocated vLLM adds to it.
RANK_GB, COLOCATED_GB = {"none": 1.6, "lora": 3.2}, 2.9


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError for what is no configuration, for a judge that pays no reward, and while another
    process rehearses the same."""
    config = load_config(argv)
    check_pays_reward(config.judge)  # another judge may stand in for it
    print(f"rehearsing {config.model.name}: its requests are read first", file=sys.stderr, flush=True)
    check_readable(config, load_pack(config.hazards))  # in seconds; doctor says so after the model is made
    folder = Path(config.runs_dir) / "rehearsals" / f"{config.model.name}-{content_hash(config.model_dump())}"
    with held(Path(f"{folder}.lock"), f"{folder} is being written by another rehearsal; wait for it"):
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        set_environment(threads=1)
        quiet_libraries()
        n_ranks = ranks_that_fit(config, psutil.virtual_memory().available / 1e9, os.cpu_count() or 1)
        words = small_words(config, argv, n_ranks, folder)
        stages = []
        with StopSignals():  # a signal ends the verb that runs, too
            for stage in Rehearsal(config, words, n_ranks, folder).stages():
                print(stage.line(), flush=True)
                stages.append(stage)
        left_out = unrehearsed(config, n_ranks)
        for line in left_out:
            print(f"not rehearsed  {line}")
        state, result = stages[-1].state, folder / RESULT
        facts = {"state": state, "words": argv, "small_words": words, "n_ranks": n_ranks, "not_rehearsed": left_out}
        replace_json(result, {**facts, "stages": [asdict(stage) for stage in stages]})
    wall_s, cpu_s = sum(stage.wall_s for stage in stages), sum(stage.cpu_s for stage in stages)
    print(f"{state} in {wall_s / 60:.1f} min, {cpu_s / 60:.1f} CPU-min: {result}")
    return int(state != "rehearsed")


def ranks_that_fit(config: Config, free_gb: float, n_cores: int) -> int:
    """The run's processes, or as many of them as free memory and cores hold and that divide them: two on one
    core, which wait for each other as more would."""
    rank_gb = RANK_GB[config.peft.adapter] + (COLOCATED_GB if config.rollout.backend == "vllm_colocate" else 0.0)
    n, fitting = config.hardware.n_processes, min(int(free_gb / rank_gb), max(2, n_cores))
    return max(ranks for ranks in range(1, max(1, min(n, fitting)) + 1) if n % ranks == 0)


def small_words(config: Config, words: Sequence[str], n_ranks: int, folder: Path) -> list[str]:
    """The run's words, then what is small or on another device; those that nothing reads then are left out."""
    own = config.tracking.model_dump(include={"n_probe_harmful", "n_probe_harmless", "n_header_pairs"})
    small: dict[str, Any] = {
        "source": "folder",
        "path": str(folder / "model"),
        "gated": False,
        "device": "cpu",
        "threads": 1,
        "n_processes": n_ranks,
        "runs_dir": str(folder / "runs"),
        "run_name": "run",
        "data_dir": str(folder / "data"),
        "max_new_tok": _max_new_tok(config),
        "max_steps": N_STEPS * config.algo.steps_per_rollout,
        "save_every_steps": config.algo.steps_per_rollout,
        **{key: min(value, N_PROBED) for key, value in own.items()},
    }
    if config.hardware.launcher == "accelerate":
        small["accelerate_config"] = str((folder / "launch.yaml").absolute())
    if config.rollout.backend == "vllm_server":
        small["server_url"] = f"http://127.0.0.1:{free_port()}"
    if config.tracking.wandb == "online":
        small["wandb"] = "offline"
    if _judge_in_process(config):
        small["kind"] = "phrases"
    every = [*words, *(as_override(key, value) for key, value in small.items())]
    unread = unread_words(load_config(every, typed=()), every)
    return [word for word in every if word not in unread]


def unrehearsed(config: Config, n_ranks: int) -> list[str]:
    """What the run meets and its rehearsal does not, a sentence each."""
    hardware, tok = config.hardware, _max_new_tok(config)
    said = ["memory, CUDA, NCCL and speed: python -m cada_trl.doctor plans memory and time", "the model's own weights"]
    if tok < config.rollout.max_new_tok:
        said.append(f"max_new_tok={config.rollout.max_new_tok}: {tok}")
    if n_ranks < hardware.n_processes:
        said.append(f"{hardware.n_processes} processes: {n_ranks}, as many as free memory and cores hold")
    if n_machines(hardware) > 1:
        said.append(f"{n_machines(hardware)} machines: one")
    if _judge_in_process(config):
        said.append(f"judge={config.judge.kind}, whose weights are read in the process: judge=phrases")
    return said + fetched(config)


def _max_new_tok(config: Config) -> int:
    return min(config.rollout.max_new_tok, MAX_NEW_TOK)


def _judge_in_process(config: Config) -> bool:
    return config.judge.kind != "phrases" and not config.judge.base_url


if __name__ == "__main__":
    run_verb(main)
