"""The methods by name: the module that builds each, and the keys of hydra_conf/algo/ that mean something to it.

A method is one line here, one file with `build(run, record) -> Trained` (run.py), one file in hydra_conf/algo/ and one
recipe. Imports no torch: modules are named, and loaded when a run begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Method:
    """reads: the keys a user may set, beside the optimiser's. fixed: values that the method implies."""

    module: str
    reads: frozenset[str]
    fixed: Mapping[str, Any] = field(default_factory=dict)


# What a key that a method does not read must be: a value that it would ignore is refused instead (algo_config.py).
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
    "distil_kl": None,
    "logp": "sum",
    "first_tok_weight": 1.0,
    "benign_tok": None,
    "rollouts_per_request": 1,
    "sampled_by": "policy",
    "steps_per_rollout": 1,
    "targets": None,
    "keep": None,
    "refusal_text": None,
    "dpo_beta": None,
}

_TARGETS = frozenset({"targets", "keep", "refusal_text"})
_STOCK = frozenset({"beta_kl", "rollouts_per_request"})

_DISTILLED = frozenset({"distil_kl", "benign_beta_kl", "first_tok_weight", "benign_tok"})

METHODS: dict[str, Method] = {
    "cada": Method("cada_trl.methods.cada", frozenset(UNUSED) - _TARGETS - {"dpo_beta", "distil_kl"}),
    "self_distillation": Method(
        "cada_trl.methods.self_distillation",
        _DISTILLED | {"rollouts_per_request", "steps_per_rollout"},
        {"beta_kl": 1.0},
    ),
    "sft": Method("cada_trl.methods.sft", _TARGETS),
    "dpo": Method("cada_trl.methods.dpo", _TARGETS | {"dpo_beta"}),
    "grpo": Method("cada_trl.methods.grpo", _STOCK, {"learn_on": "rollout", "baseline": "group", "kl": "k3"}),
    "rloo": Method(
        "cada_trl.methods.rloo",
        _STOCK,
        {"learn_on": "rollout", "baseline": "leave_one_out", "kl": "k1", "kl_in": "reward_sequence"},
    ),
}
