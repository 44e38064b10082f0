"""One run: what its stages share, what it asks of the trainer that a method builds, and what all trainers are given.

A method is a line of BUILDERS, a function `(run, record) -> Trained`, the keys that it reads (config/algo.py), a
file in hydra_conf/algo/ and a recipe. Imports no torch: builders are named, and loaded when a run begins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cada_trl.config import Config
from cada_trl.data.prepared import PreparedData
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.judging.judge import Judge
from cada_trl.judging.model_judge import ReasoningJudge
from cada_trl.models.load import load_policy
from cada_trl.models.named import snapshot
from cada_trl.reward import ScoredCompletion, score_completions
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder

# (optimiser step, metrics by their registered names, a dict per completion sampled in the step), on every process
Record = Callable[[int, dict[str, float], list[dict[str, Any]]], None]
# (dataset rows, completions, whether each was cut off) -> each judged and paid
Score = Callable[[list[dict[str, Any]], list[str], list[bool]], list[ScoredCompletion]]

AnyTrainer = TypeVar("AnyTrainer")

BUILDERS = {
    "cada": "cada_trl.training.cada:build",
    "self_distillation": "cada_trl.training.self_distillation:build",
    "sft": "cada_trl.training.stock:build_sft",
    "dpo": "cada_trl.training.stock:build_dpo",
    "grpo": "cada_trl.training.stock:build_grpo",
    "rloo": "cada_trl.training.stock:build_rloo",
}


class Trained(Protocol):
    """What a run asks of the trainer of a method: in_run.py and checkpoints.py give it to a trainer of TRL."""

    model: Any
    state: Any

    def reference_hash(self) -> str | None: ...
    def sampling_model(self) -> AbstractContextManager[Any]: ...
    def any_rank(self, here: bool) -> bool: ...
    def stop_here(self) -> int: ...
    def train(self, resume_from_checkpoint: str | None = None) -> Any: ...
    def save_model(self, output_dir: str) -> None: ...


@dataclass
class Run:
    """One run, from its configuration to its folder."""

    config: Config
    folder: RunFolder
    data: PreparedData
    pack: HazardPack
    judge: Judge
    reasoning_judge: ReasoningJudge | None
    tokenizer: Any
    mirror: Mirror
    manifest: dict[str, Any]
    say: Callable[[str], None]

    @property
    def n_steps(self) -> int:
        """Optimiser steps: a function of the requests, the same for every method."""
        return n_steps(self.config, len(self.data.train))

    def policy(self) -> Any:
        """The model to train. TRL loads the frozen reference by the policy's name and knows no revision: a hub's model
        is named by its commit's folder."""
        policy = load_policy(self.config.model, self.tokenizer)
        if self.config.model.source == "hub" and self.config.peft.adapter == "none":
            policy.config.name_or_path = str(snapshot(self.config.model))
        return policy

    def note(self, key: str, facts: dict[str, Any]) -> None:
        self.manifest[key] = facts
        self.folder.write_manifest(self.manifest)

    def score(self, rows: list[dict[str, Any]], texts: list[str], truncated: list[bool]) -> list[ScoredCompletion]:
        """Judge and pay completions of dataset rows (`request`, `hazard`, `harmful`)."""
        return score_completions(rows, texts, truncated, self.judge, self.config.reward, self.reasoning_judge)

    def built(
        self, trainer_class: Callable[..., AnyTrainer], args: Any, rows: Any, sampler: Any, record: Record, **given: Any
    ) -> AnyTrainer:
        """A trainer of TRL that learns from rows. args are made before the policy is loaded: ZeRO-3 splits by them."""
        policy = self.policy()
        return trainer_class(
            model=policy,
            args=args,
            train_dataset=rows,
            processing_class=self.tokenizer,
            peft_config=lora_config(self.config, policy),
            sampler=sampler,
            record=record,
            **given,
        )

    def trainer(self, record: Record) -> Trained:
        """The trainer of the run's method. Errors: UserError for requests or targets that do not fill a batch."""
        module, function = BUILDERS[self.config.algo.method].split(":")
        trainer: Trained = getattr(import_module(module), function)(self, record)
        return trainer


def n_steps(config: Config, n_harmful: int) -> int:
    """Optimiser steps of the run: max_steps, or what the epochs over the harmful requests hold."""
    algo = config.algo
    if algo.max_steps:
        return algo.max_steps
    return math.ceil(algo.epochs * math.ceil(n_harmful / (algo.requests_per_step - algo.benign_per_step)))


def training_arguments(config: Config, checkpoints: Path, n_harmful: int) -> dict[str, Any]:
    """What every method's arguments share; every value comes from the configuration."""
    algo, hardware, tracking = config.algo, config.hardware, config.tracking
    per_process = algo.rollouts_per_step // hardware.n_processes
    return {
        "output_dir": str(checkpoints),
        "seed": config.seed,
        "trust_remote_code": config.model.trust_remote_code,  # TRL loads the reference, and vLLM the policy, by it
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
        "logging_nan_inf_filter": False,  # it logs a loss that is not a number as 0
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
        "vllm_server_base_url": " ".join(rollout.server_url or []) or None,  # as ServerClient reads it
        "vllm_max_model_length": config.model.context_tok,
    }


def lora_config(config: Config, policy: Any) -> Any:
    """PEFT's LoraConfig for the policy, or None for full fine-tuning. Errors: UserError for modules that it lacks."""
    if config.peft.adapter == "none":
        return None
    _check_targets(config.peft.target_modules, policy)
    from peft import LoraConfig

    return LoraConfig(
        r=config.peft.rank,
        lora_alpha=config.peft.alpha,
        lora_dropout=config.peft.dropout,
        target_modules=config.peft.target_modules,
        task_type="CAUSAL_LM",
    )


def _check_targets(target: str, policy: Any) -> None:
    """PEFT reads a text as a regular expression over whole names of modules, but for the word all-linear."""
    from torch.nn import Embedding, Linear
    from transformers.pytorch_utils import Conv1D

    modules = dict(policy.named_modules())
    names = {name for name, module in modules.items() if isinstance(module, Linear | Embedding | Conv1D)}
    try:
        matched = names if target == "all-linear" else {name for name in modules if re.fullmatch(target, name)}
    except re.error:
        matched = set()
    if not matched or not matched <= names:
        last = sorted({name.rpartition(".")[2] for name in names})
        raise UserError(
            f"target_modules={target} matches {'other modules too' if matched else 'no module'}; this model has "
            f"{', '.join(last)}; expected all-linear, or a regular expression over whole names, as in "
            f"'.*({last[0]}|{last[-1]})'"
        )
    head, rows = policy.get_output_embeddings(), policy.get_input_embeddings()
    one_weight = {head, rows} if head.weight is rows.weight else {head}
    if target != "all-linear" and (wrong := sorted(name for name in matched if modules[name] in one_weight)):
        raise UserError(
            f"target_modules={target} matches {wrong[0]}; the head takes no adapter, nor do embeddings that are its "
            "weight: merged it would change both; leave it out"
        )
