"""Config -> what the trainer takes: CADAConfig, the dataset of rollout and learn prompts, the LoRA adapter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.prompting.arms import render
from cada_trl.records import Request
from cada_trl.trainers.cada_config import CADAConfig
from cada_trl.trainers.sampler import RolloutSampler


def n_steps(config: Config, n_harmful: int) -> int:
    """Optimiser steps of the run: max_steps, or what the epochs over the harmful requests hold."""
    per_epoch = math.ceil(n_harmful / (config.algo.requests_per_step - config.algo.benign_per_step))
    return config.algo.max_steps or math.ceil(config.algo.epochs * per_epoch)


def rollout_dataset(config: Config, harmful: Sequence[Request], benign: Sequence[Request], pack: HazardPack) -> Dataset:
    """Harmful rows first, then harmless ones, each with the prompt it is sampled on and the prompt it is learned on.

    Errors: UserError when the batch wants harmless requests and there are none, or more requests than there are.
    """
    n_benign = config.algo.benign_per_step
    if n_benign and not benign:
        raise UserError(f"benign_frac={config.algo.benign_frac} wants harmless requests; the request set has none")
    if len(harmful) < config.algo.requests_per_step - n_benign:
        raise UserError(
            f"{len(harmful)} training requests are fewer than a step's {config.algo.requests_per_step - n_benign}; "
            "lower requests_per_step or raise n_train"
        )
    requests = [*harmful, *(benign if n_benign else [])]
    return Dataset.from_list([_row(config, request, pack) for request in requests])


def _row(config: Config, request: Request, pack: HazardPack) -> dict[str, Any]:
    prompt = config.prompt
    arm = prompt.arm if request.harmful or config.algo.benign_arm == "same" else "none"
    hazard = request.hazard if prompt.hint else None
    rollout = render(arm, request.text, hazard, pack, prompt.cases_as, prompt.n_cases)
    learn = render("none", request.text, None, pack) if config.algo.learn_on == "request" else rollout
    return {
        "prompt": rollout,
        "learn_prompt": learn,
        "prompt_arm": arm,
        "request_id": request.id,
        "request": request.text,
        "hazard": request.hazard,
        "harmful": request.harmful,
    }


def training_arguments(config: Config, checkpoints: Path, n_harmful: int) -> dict[str, Any]:
    """What every method's arguments share; every value comes from the configuration."""
    algo, hardware, tracking = config.algo, config.hardware, config.tracking
    per_process = algo.rollouts_per_step // hardware.n_processes
    return {
        "output_dir": str(checkpoints),
        "seed": config.seed,
        "learning_rate": algo.lr,
        "lr_scheduler_type": algo.lr_schedule,
        "warmup_steps": algo.warmup_frac,
        "weight_decay": algo.weight_decay,
        "adam_beta2": algo.adam_beta2,
        "max_grad_norm": algo.max_grad_norm,
        "max_steps": n_steps(config, n_harmful),
        "per_device_train_batch_size": hardware.micro_batch,
        "gradient_accumulation_steps": per_process // hardware.micro_batch,
        "bf16": hardware.bf16,
        "use_cpu": hardware.device == "cpu",
        "gradient_checkpointing": hardware.gradient_checkpointing,
        "ddp_find_unused_parameters": False,
        "logging_steps": 1,
        "save_steps": tracking.save_every_steps,
        "save_total_limit": tracking.save_total_limit,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }


def rollout_arguments(config: Config) -> dict[str, Any]:
    """How completions are sampled, in the words of TRL's GRPO and RLOO."""
    rollout = config.rollout
    return {
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "max_completion_length": rollout.max_new_tok,
        "use_vllm": rollout.backend != "transformers",
        "vllm_mode": "server" if rollout.backend == "vllm_server" else "colocate",
        "vllm_server_base_url": rollout.server_url,
        "vllm_max_model_length": config.model.context_tok,
    }


def twin_of(harmful: Sequence[str | None], benign: Sequence[str | None]) -> dict[int, int]:
    """Row of a harmful request -> row of its harmless twin, from the pair of each row; the harmful rows come first."""
    place = {pair: len(harmful) + index for index, pair in enumerate(benign) if pair}
    return {index: place[pair] for index, pair in enumerate(harmful) if pair in place}


def pairs_of(requests: Iterable[Request]) -> list[str | None]:
    """The pair of each request."""
    return [request.pair for request in requests]


def cada_arguments(
    config: Config, checkpoints: Path, harmful: Sequence[Request], benign: Sequence[Request]
) -> CADAConfig:
    """CADA's arguments of a run."""
    algo, n_harmful = config.algo, len(harmful)
    return CADAConfig(
        **training_arguments(config, checkpoints, n_harmful),
        **rollout_arguments(config),
        learn_on=algo.learn_on,
        baseline=algo.baseline,
        baseline_rate=algo.baseline_rate,
        baseline_start=algo.baseline_start,
        kl=algo.kl,
        kl_in=algo.kl_in,
        beta_kl=algo.beta_kl,
        benign_beta_kl=algo.benign_beta_kl,
        target_kl_nats=algo.target_kl_nats,
        distil_kl=algo.distil_kl,
        logp=algo.logp,
        first_tok_weight=algo.first_tok_weight,
        rollouts_per_request=algo.rollouts_per_request,
        steps_per_rollout=algo.steps_per_rollout,
        sampled_by=algo.sampled_by,
        benign_per_step=algo.benign_per_step,
        benign_tok=algo.benign_tok,
        importance_cap=config.rollout.importance_cap,
        n_harmful=n_harmful,
        twin_of=twin_of(pairs_of(harmful), pairs_of(benign)),
    )


def step_sampler(
    config: Config, harmful: Sequence[str | None], benign: Sequence[str | None], n_micro: int = 1
) -> RolloutSampler:
    """The requests of each step, by their place in a dataset with the harmful rows first; the same for every method.

    harmful, benign: the pair of each row. n_micro: how often a step's rows are yielded; 1 for a trainer that takes a
    row once.
    """
    algo = config.algo
    return RolloutSampler(
        len(harmful),
        len(benign),
        algo.requests_per_step,
        algo.benign_per_step,
        algo.rollouts_per_request,
        n_micro,
        config.seed,
        twin_of(harmful, benign),
    )


def lora_config(config: Config) -> Any:
    """PEFT's LoraConfig, or None for full fine-tuning."""
    if config.peft.adapter == "none":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=config.peft.rank,
        lora_alpha=config.peft.alpha,
        lora_dropout=config.peft.dropout,
        target_modules=config.peft.target_modules,
        task_type="CAUSAL_LM",
    )
