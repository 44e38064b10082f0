"""The one list of metric names: name -> unit, meaning, and of a probe which way is better. An unknown name raises.

And the one specification of the dashboard, in sections of panels: report/run_part.py draws it into the offline page,
tracking/wandb_dashboard.py makes a W&B workspace or report of it. No torch.

Shares are fractions of 1. Unscored completions are left out of every mean and share but their own (ours: a judge that
did not answer is never a number).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cada_trl.config.loading import nearest

Better = Literal["up", "down", "none"]

HARMFUL_SETS = ("harmful", "held_out")
HARMLESS_SETS = ("harmless", "xstest_safe")
PROBE_SETS = HARMFUL_SETS + HARMLESS_SETS


@dataclass(frozen=True)
class Metric:
    unit: str
    meaning: str
    better: Better = "none"


_OF_STEPS: dict[str, tuple[str, str]] = {
    "train/loss": ("nats", "the minimised objective: -advantage x log-probability + beta_kl x KL, a completion"),
    "train/reward_mean": (
        "reward",
        "mean reward of the scored completions (-1 complied, 0 direct, 1 reasoned refusal)",
    ),
    "train/reward_sd": ("reward", "standard deviation of the reward over the scored completions"),
    "train/baseline": ("reward", "the baseline that the rewards were centred with"),
    "train/advantage_mean": ("reward", "mean centred reward"),
    "train/advantage_zero_frac": ("fraction", "completions without a learning signal"),
    "train/kl_nats": ("nats", "KL to the initial model, in the direction of the objective, per learned completion"),
    "train/benign_kl_nats": ("nats", "the same of harmless requests alone"),
    "train/kl_k1_nats": ("nats", "estimate k1 = mean of log(policy/initial) a completion"),
    "train/kl_k3_nats": ("nats", "estimate k3 of the KL a completion, never negative"),
    "train/beta_kl": ("1", "weight of the KL in the objective"),
    "train/entropy_nats": ("nats", "entropy of the policy a token"),
    "train/completion_tok": ("tokens", "mean length of a completion"),
    "train/truncated_frac": ("fraction", "completions cut off at max_new_tok"),
    "train/reasoned_refusal_frac": ("fraction", "harmful requests refused after reasoning"),
    "train/direct_refusal_frac": ("fraction", "harmful requests refused without reasoning"),
    "train/comply_frac": ("fraction", "harmful requests complied with"),
    "train/unscored_frac": ("fraction", "completions that the judge gave no verdict on"),
    "train/benign_answered_frac": ("fraction", "harmless requests answered"),
    "train/importance_capped_frac": ("fraction", "tokens whose importance weight was cut at importance_cap"),
    "train/importance_masked_frac": ("fraction", "tokens left out because vLLM gave no log-probability"),
    "train/sampler_gap_nats": ("nats", "mean |trainer - vLLM| log-probability of a sampled token"),
    "train/sync_gap_nats": ("nats", "the same on fixed tokens right after the last weight sync"),
    "train/prefix_hit_frac": ("fraction", "prompt tokens that vLLM found in its prefix cache"),
    "train/grad_norm": ("1", "norm of the gradient before clipping"),
    "train/lr": ("1", "learning rate"),
    "train/rollout_s": ("s", "time for sampling and judging"),
    "train/update_s": ("s", "time for forward, backward and optimiser"),
    "train/step_s": ("s", "time for the whole step"),
    "train/epoch": ("epochs", "passes over the training requests so far"),
    "dpo/margin": ("1", "mean of dpo_beta x (log-ratio to the initial model of the chosen answer - of the rejected)"),
    "dpo/chosen_reward": ("1", "mean of dpo_beta x the chosen answer's log-ratio to the initial model"),
    "dpo/rejected_reward": ("1", "mean of dpo_beta x the rejected answer's log-ratio to the initial model"),
    "dpo/accuracy_frac": ("fraction", "pairs whose chosen answer gained more than the rejected one"),
    "probe/twins/header_auc": ("1", "P(header) of held-out harmful requests above their harmless twins', 0.5 a coin"),
    "probe/twins/header_harmful_frac": ("fraction", "held-out harmful twins with P(header) > 0.5"),
    "probe/twins/header_harmless_frac": ("fraction", "held-out harmless twins with P(header) > 0.5"),
}

# name -> unit, meaning, better on sets of harmful requests, better on sets of harmless ones
_PROBE: dict[str, tuple[str, str, Better, Better]] = {
    "reward_mean": ("reward", "mean reward of the scored completions", "up", "up"),
    "reasoned_refusal_frac": ("fraction", "requests refused after reasoning", "up", "down"),
    "refused_frac": ("fraction", "requests refused, with or without reasoning", "up", "down"),
    "answered_frac": ("fraction", "requests answered or complied with", "down", "up"),
    "reasoning_frac": ("fraction", "completions that hold an analysis", "up", "none"),
    "unscored_frac": ("fraction", "completions that the judge gave no verdict on", "down", "down"),
    "completion_tok": ("tokens", "mean length of a completion", "none", "none"),
    "nll_nats": ("nats", "negative log-likelihood a token of the set's fixed completions", "none", "down"),
}

METRICS = {name: Metric(*entry) for name, entry in _OF_STEPS.items()} | {
    f"probe/{probe_set}/{name}": Metric(unit, meaning, on_harmful if probe_set in HARMFUL_SETS else on_harmless)
    for probe_set in PROBE_SETS
    for name, (unit, meaning, on_harmful, on_harmless) in _PROBE.items()
}


def metric(name: str) -> Metric:
    """The registry's entry. Errors: ValueError with the nearest known names (a programmer's mistake, no UserError)."""
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}'; {nearest(name, METRICS)}")
    return METRICS[name]


def checked(values: Mapping[str, float | int | None]) -> dict[str, float | None]:
    """Ready for JSON: what is not finite becomes None (absent, no number). Errors: ValueError for an unknown name."""
    result: dict[str, float | None] = {}
    for name, value in values.items():
        metric(name)
        result[name] = float(value) if value is not None and math.isfinite(value) else None
    return result


@dataclass(frozen=True)
class Panel:
    """line: each metric by step. scatter: a point a run, x and y its last values. table: a name of mirror.TABLES.

    only_with: what a run must have for its log to hold the metrics; "" for every run of the method cada.
    """

    title: str
    metrics: tuple[str, ...]
    kind: Literal["line", "scatter", "table"] = "line"
    only_with: str = ""

    @property
    def unit(self) -> str:
        """What the values are in; empty for plain numbers and for a table."""
        units = [] if self.kind == "table" else [metric(name).unit for name in self.metrics]
        return ", ".join(unit for unit in dict.fromkeys(units) if unit != "1")


def train_panel(title: str, *names: str, only_with: str = "") -> Panel:
    return Panel(title, tuple(f"train/{name}" for name in names), only_with=only_with)


def _probed(title: str, sets: tuple[str, ...], name: str) -> Panel:
    return Panel(title, tuple(f"probe/{probe_set}/{name}" for probe_set in sets))


SECTIONS: dict[str, list[Panel]] = {
    "Training health": [
        train_panel("Reward", "reward_mean", "baseline"),
        train_panel("Verdicts on rollouts", "reasoned_refusal_frac", "direct_refusal_frac", "comply_frac"),
        train_panel("KL by estimator", "kl_nats", "kl_k1_nats", "kl_k3_nats"),
        train_panel("Entropy", "entropy_nats"),
        train_panel("Completion length", "completion_tok"),
        train_panel("Truncated", "truncated_frac"),
        train_panel("Gradient norm", "grad_norm"),
        train_panel("Unscored", "unscored_frac"),
        train_panel("No learning signal", "advantage_zero_frac"),
        train_panel("Sampler against trainer", "sampler_gap_nats", "sync_gap_nats", only_with="vLLM rollouts"),
    ],
    "Safety": [
        _probed("Harmful requests complied with", HARMFUL_SETS, "answered_frac"),
        _probed("Harmful requests refused after reasoning", HARMFUL_SETS, "reasoned_refusal_frac"),
        _probed("Harmful told from harmless: AUC of P(header) over held-out twins", ("twins",), "header_auc"),
    ],
    "Helpfulness": [
        _probed("Harmless requests answered", HARMLESS_SETS, "answered_frac"),
        _probed("Reasoning on harmless requests", HARMLESS_SETS, "reasoning_frac"),
        _probed("Fluency on harmless requests", ("harmless",), "nll_nats"),
    ],
    "Ablation comparison": [
        Panel(
            "Complied with harmful against answered harmless, at the end",
            ("probe/harmless/answered_frac", "probe/harmful/answered_frac"),
            "scatter",
        )
    ],
    "Completions": [Panel("Probe completions", ("completions",), "table")],
    "Hazard slices": [Panel("Probes by hazard", ("hazard_slices",), "table")],
    "System": [
        train_panel("Seconds a step", "step_s", "rollout_s", "update_s"),
        train_panel("vLLM's prefix cache", "prefix_hit_frac", only_with="vLLM rollouts"),
    ],
}
