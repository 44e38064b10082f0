"""CADA's arguments: TRL's GRPOConfig set to plain REINFORCE, and the keys of hydra_conf/algo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trl import GRPOConfig

from cada_trl.algo.baseline import Kind
from cada_trl.algo.scores import Direction


@dataclass
class CADAConfig(GRPOConfig):
    """GRPOConfig plus the keys of hydra_conf/algo (same names, sources there)."""

    learn_on: str = "request"
    baseline: Kind = "running"
    baseline_rate: float | None = None
    baseline_start: float | None = None
    kl: str = "exact"
    kl_in: str = "loss"
    beta_kl: float = 0.01
    benign_beta_kl: float | None = None
    target_kl_nats: float | None = None
    distil_kl: Direction | None = None
    logp: Literal["sum", "mean"] = "sum"
    first_tok_weight: float = 1.0
    rollouts_per_request: int = 1
    steps_per_rollout: int = 1
    sampled_by: Literal["policy", "reference"] = "policy"
    benign_per_step: int = 0
    benign_tok: int | None = None
    importance_cap: float | None = None
    share_prefix: bool = True
    n_harmful: int | None = field(
        default=None, metadata={"help": "rows of the dataset that are harmful; they come first"}
    )
    twin_of: dict[int, int] | None = field(default=None, metadata={"help": "harmful row -> row of its harmless twin"})

    def __post_init__(self) -> None:
        self.beta = max(self.beta_kl, self.benign_beta_kl or 0.0)  # TRL builds a reference where this is not 0
        self.loss_type, self.scale_rewards, self.num_iterations = "dr_grpo", "none", 1
        self.vllm_importance_sampling_correction = False
        # TRL insists on groups of two or more; a number that passes its check, put right below.
        self.num_generations = self.per_device_train_batch_size * self.gradient_accumulation_steps
        self.steps_per_generation = self.gradient_accumulation_steps * self.steps_per_rollout
        super().__post_init__()
        if (self.generation_batch_size or 0) % self.rollouts_per_request:
            raise ValueError(
                f"{self.generation_batch_size} rollouts a step cannot be cut into groups of {self.rollouts_per_request}"
            )
        self.num_generations = self.rollouts_per_request
        if self.gradient_checkpointing:
            self.share_prefix = False  # a shared prefix lives in a key-value cache, which checkpointing drops
        if self.deepspeed_plugin is not None and self.deepspeed_plugin.zero_stage == 3:
            # A prefix may be a forward call of its own, by what a rank's micro-batch holds; the ranks gather weights
            # in every call, and wait forever for one that makes a call less.
            self.share_prefix = False
