"""CADATrainer's arguments: GRPOConfig set to plain REINFORCE, and the keys of hydra_conf/algo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trl import GRPOConfig

from cada_trl.algo.baseline import Kind
from cada_trl.algo.scores import Direction
from cada_trl.config import Config
from cada_trl.training.run import rollout_arguments, training_arguments


@dataclass
class CADAConfig(GRPOConfig):
    """Most are keys of hydra_conf/algo of the same name, whose files give their sources."""

    learn_on: str = "request"
    baseline: Kind = "running"
    baseline_rate: float | None = None
    baseline_start: float | None = None
    kl: str = "exact"
    kl_in: str = "loss"
    beta_kl: float = 0.01
    benign_beta_kl: float | None = None
    target_kl_nats: float | None = None
    kl_direction: Direction = "reverse"
    logp: Literal["sum", "mean"] = "sum"
    first_tok_weight: float = 1.0
    rollouts_per_request: int = 1
    steps_per_rollout: int = 1
    skip_zero_advantage: bool = False
    sampled_by: Literal["policy", "reference"] = "policy"
    benign_tok: int | None = None
    first_tok_per_step: tuple[int, int] = (0, 0)  # harmful and harmless requests
    importance_cap: float | None = None
    share_prefix: bool = True

    def __post_init__(self) -> None:
        self.beta = max(self.beta_kl, self.benign_beta_kl or 0.0)  # TRL builds a reference where this is not 0
        self.loss_type, self.scale_rewards, self.num_iterations = "dr_grpo", "none", 1
        self.vllm_importance_sampling_correction = False
        # TRL insists on groups of two or more: a number that passes its check, put right below.
        self.num_generations = self.per_device_train_batch_size * self.gradient_accumulation_steps
        self.steps_per_generation = self.gradient_accumulation_steps * self.steps_per_rollout
        super().__post_init__()
        if (self.generation_batch_size or 0) % self.rollouts_per_request:
            raise ValueError(
                f"{self.generation_batch_size} rollouts per step make no whole groups of {self.rollouts_per_request}"
            )
        self.num_generations = self.rollouts_per_request
        # A shared prefix lives in a key-value cache, which gradient checkpointing drops, and may be a forward call of
        # its own: under ZeRO-3 the ranks gather weights in every call, and wait forever for one that makes a call less.
        plugin = self.deepspeed_plugin
        if self.gradient_checkpointing or (plugin is not None and plugin.zero_stage == 3):
            self.share_prefix = False


def cada_arguments(config: Config, checkpoints: Path, n_harmful: int) -> CADAConfig:
    """CADA's arguments of a run: those of every method, and the keys of `algo` that CADAConfig has too."""
    return CADAConfig(
        **training_arguments(config, checkpoints, n_harmful),
        **rollout_arguments(config),
        **{key: value for key, value in config.algo if key in CADAConfig.__annotations__},
        first_tok_per_step=config.algo.first_tok_per_step,
        importance_cap=config.rollout.importance_cap,
    )
