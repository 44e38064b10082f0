"""The `algo` section: which method trains, its objective and its optimisation; the keys that each method reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from cada_trl.config.loading import Fraction, Positive, Section, nearest
from cada_trl.config.texts import Words


@dataclass(frozen=True)
class Method:
    """reads: the keys a user may set, beside the optimiser's. fixed: values that the method implies."""

    reads: frozenset[str]
    fixed: Mapping[str, Any] = field(default_factory=dict)


# What a key that a method does not read must be: a value that it would ignore is refused instead.
UNUSED: dict[str, Any] = {
    "learn_on": "request",
    "baseline": "none",
    "baseline_rate": None,
    "baseline_start": None,
    "kl": "exact",
    "kl_in": "loss",
    "beta_kl": 0.0,
    "benign_beta_kl": None,
    "target_kl_nats": None,
    "kl_direction": "reverse",
    "logp": "sum",
    "first_tok_weight": 1.0,
    "benign_tok": None,
    "first_tok_frac": 0.0,
    "rollouts_per_request": 1,
    "sampled_by": "policy",
    "steps_per_rollout": 1,
    "skip_zero_advantage": False,
    "targets": None,
    "keep": None,
    "refusal_text": None,
    "dpo_beta": None,
}

_TARGETS = frozenset({"targets", "keep", "refusal_text"})
_STOCK = frozenset({"beta_kl", "rollouts_per_request"})
_DISTILLED = frozenset({"kl_direction", "benign_beta_kl", "first_tok_weight", "benign_tok"})

METHODS: dict[str, Method] = {
    "cada": Method(frozenset(UNUSED) - _TARGETS - {"dpo_beta"}),
    "self_distillation": Method(_DISTILLED | {"rollouts_per_request", "steps_per_rollout"}, {"beta_kl": 1.0}),
    "sft": Method(_TARGETS),
    "dpo": Method(_TARGETS | {"dpo_beta"}),
    "grpo": Method(_STOCK, {"learn_on": "rollout", "baseline": "group", "kl": "k3"}),
    "rloo": Method(
        _STOCK, {"learn_on": "rollout", "baseline": "leave_one_out", "kl": "k1", "kl_in": "reward_sequence"}
    ),
}


class AlgoConfig(Section):
    """The objective and its optimisation (paper: Objective, Baselines). Sources stand in hydra_conf/algo/."""

    method: str = "cada"  # of METHODS; runs written before there were others hold none
    learn_on: Literal["request", "rollout"]
    baseline: Literal["running", "batch", "group", "leave_one_out", "none"]
    baseline_rate: Annotated[float, Field(ge=0.0, le=1.0)] | None  # null: 1/t; 0: the baseline stays where it starts
    baseline_start: float | None  # null: the first batch's mean
    kl: Literal["exact", "k1", "k2", "k3"]
    kl_in: Literal["loss", "reward_sequence", "reward_to_go"]
    beta_kl: Annotated[float, Field(ge=0.0)]
    benign_beta_kl: Annotated[float, Field(ge=0.0)] | None  # of harmless requests; null: beta_kl
    target_kl_nats: Annotated[float, Field(gt=0.0)] | None  # null: beta_kl stays fixed
    kl_direction: Literal["reverse", "forward", "symmetric"] = "reverse"  # of the exact KL; KL(policy || reference)
    logp: Literal["sum", "mean"]
    first_tok_weight: Annotated[float, Field(gt=0.0)] = 1.0
    # what SFT and DPO learn to say to a harmful request; opening: refusal_text begins the answer, and no end is learned
    targets: Literal["own", "direct_refusal", "opening"] | None = None
    keep: Literal["complete", "reasoned_refusal"] | None = None  # of the model's own completions
    refusal_text: Words | None = None  # the direct refusal: SFT's target or DPO's rejected answer
    dpo_beta: Annotated[float, Field(gt=0.0)] | None = None
    lr: Annotated[float, Field(gt=0.0)]
    lr_schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    warmup_frac: Annotated[float, Field(ge=0.0, lt=1.0)]  # transformers reads 1 and more as a number of steps
    weight_decay: Annotated[float, Field(ge=0.0)]
    adam_beta2: Annotated[float, Field(gt=0.0, lt=1.0)]
    max_grad_norm: Annotated[float, Field(gt=0.0)]
    requests_per_step: Positive
    rollouts_per_request: Positive
    sampled_by: Literal["policy", "reference"] = "policy"  # whose completions of the rollout prompt are learned from
    steps_per_rollout: Positive = 1  # optimiser steps whose rollouts are sampled at once
    skip_zero_advantage: bool = False  # leave rollouts without an advantage out of the update, and their KL with them
    benign_frac: Fraction
    benign_arm: Literal["none", "same"]
    benign_tok: Positive | None = None  # tokens sampled of a harmless request, for its KL alone; null: judged rollouts
    first_tok_frac: Fraction = 0.0  # of both kinds of requests: those whose first token alone is sampled and learned
    epochs: Annotated[float, Field(gt=0.0)]
    max_steps: Positive | None  # null: as many as the epochs hold

    @property
    def benign_per_step(self) -> int:
        """Harmless requests in every step's batch (ours; the paper has none)."""
        return round(self.benign_frac * self.requests_per_step)

    @property
    def rollouts_per_step(self) -> int:
        """Completions that an optimiser step learns from, of all processes."""
        return self.requests_per_step * self.rollouts_per_request

    @property
    def first_tok_per_step(self) -> tuple[int, int]:
        """(harmful, harmless) requests whose first token alone is sampled; one harmful one at least is whole."""
        n_harmful = self.requests_per_step - self.benign_per_step
        short = min(round(self.first_tok_frac * n_harmful), max(n_harmful - 1, 0))
        return short, round(self.first_tok_frac * self.benign_per_step)

    @property
    def first_toks_per_step(self) -> int:
        """Completions of one token, which are not judged."""
        return sum(self.first_tok_per_step) * self.rollouts_per_request

    @property
    def anchors_per_step(self) -> int:
        """Completions that are sampled for benign_tok tokens and not judged."""
        n_requests = self.benign_per_step - self.first_tok_per_step[1]
        return n_requests * self.rollouts_per_request if self.benign_tok is not None else 0

    @property
    def judged_per_step(self) -> int:
        """Completions that are whole and judged."""
        return self.rollouts_per_step - self.first_toks_per_step - self.anchors_per_step

    @property
    def has_kl(self) -> bool:
        """Whether some row's KL has a weight: without one there is no reference."""
        return max(self.beta_kl, self.benign_beta_kl or 0.0) > 0.0


def algo_misfits(algo: AlgoConfig) -> Iterator[str]:
    """An unknown method, a key that the method would ignore, one that it lacks, and keys that do not fit together."""
    if algo.method not in METHODS:
        yield f"method={algo.method}: no such method; {nearest(algo.method, METHODS)}"
    method = METHODS[algo.method]
    for key, unused in (UNUSED | dict(method.fixed)).items():
        value = getattr(algo, key)
        if key not in method.reads and value != unused:
            implied = f"implies {key}={unused}" if key in method.fixed else f"does not read {key}"
            yield f"{key}={value}: method={algo.method} {implied}; leave it out, or choose another algo="
    needed = [key for key in ("targets", "keep", "refusal_text", "dpo_beta") if key in method.reads]
    if lacking := [key for key in needed if getattr(algo, key) is None]:
        yield (
            f"method={algo.method} needs {', '.join(lacking)}: without targets there is nothing to learn; "
            "start from a file of hydra_conf/algo/ that sets them, such as algo=sft_cases"
        )
    if algo.benign_per_step == algo.requests_per_step and (algo.method != "sft" or algo.max_steps is None):
        yield (
            f"benign_frac={algo.benign_frac} leaves no harmful request in a step of {algo.requests_per_step}; only "
            "method=sft with max_steps set learns from harmless ones alone: lower it"
        )
    yield from _shares_of_none(algo)
    if algo.targets == "opening" and (algo.method != "sft" or algo.benign_frac):
        yield "targets=opening is for method=sft on harmful requests alone; set benign_frac=0.0"
    if algo.method == "dpo" and algo.targets == "direct_refusal":
        yield "targets=direct_refusal makes chosen and rejected equal in every DPO pair; set targets=own"
    if algo.kl == "k1" and algo.kl_in == "loss":
        yield "kl=k1 with kl_in=loss has no gradient in expectation; set kl=exact or kl_in=reward_sequence"
    if algo.target_kl_nats is not None and algo.beta_kl == 0.0:
        yield "target_kl_nats steers beta_kl by factors and cannot move it from 0; start with beta_kl=0.01"
    if algo.kl_in != "loss" and algo.kl != "k1":
        yield f"kl_in={algo.kl_in} takes kl=k1, not kl={algo.kl} (its gradient there is another)"
    if algo.baseline in {"group", "leave_one_out"} and algo.rollouts_per_request < 2:
        yield f"baseline={algo.baseline} needs rollouts_per_request >= 2; 1 takes running, batch or none"


def _shares_of_none(algo: AlgoConfig) -> Iterator[str]:
    of_a_kind = max(algo.requests_per_step - algo.benign_per_step, algo.benign_per_step)
    for key, n in (("benign_frac", algo.requests_per_step), ("first_tok_frac", of_a_kind)):
        share = getattr(algo, key)
        if share and not round(share * n):
            yield f"{key}={share} of {n} requests per step is none; set {1 / n:.3g}, which is one, or 0.0"
