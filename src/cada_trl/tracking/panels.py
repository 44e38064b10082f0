"""The one specification of the dashboard: sections of panels, by the registry's metric names. No torch.

report/dashboard.py draws it into the offline page, tracking/wandb_dashboard.py makes a W&B workspace or report of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cada_trl.tracking.metrics import HARMFUL_SETS, HARMLESS_SETS, metric

Kind = Literal["line", "scatter", "table"]


@dataclass(frozen=True)
class Panel:
    """line: each metric by step. scatter: a point a run, x and y its last values. table: a name of mirror.TABLES.

    only_with: what a run must have for its log to hold the metrics; "" for every run of the method cada.
    """

    title: str
    metrics: tuple[str, ...]
    kind: Kind = "line"
    only_with: str = ""

    @property
    def unit(self) -> str:
        """What the values are in; empty for plain numbers and for a table."""
        units = [] if self.kind == "table" else [metric(name).unit for name in self.metrics]
        return ", ".join(unit for unit in dict.fromkeys(units) if unit != "1")


@dataclass(frozen=True)
class Section:
    """A part of the dashboard."""

    title: str
    panels: tuple[Panel, ...]


def _train(title: str, *names: str, only_with: str = "") -> Panel:
    return Panel(title, tuple(f"train/{name}" for name in names), only_with=only_with)


def _probed(title: str, sets: tuple[str, ...], name: str) -> Panel:
    return Panel(title, tuple(f"probe/{probe_set}/{name}" for probe_set in sets))


_PANELS = {
    "Training health": [
        _train("Reward", "reward_mean", "baseline"),
        _train("Verdicts on rollouts", "reasoned_refusal_frac", "direct_refusal_frac", "comply_frac"),
        _train("KL by estimator", "kl_nats", "kl_k1_nats", "kl_k3_nats"),
        _train("Entropy", "entropy_nats"),
        _train("Completion length", "completion_tok"),
        _train("Truncated", "truncated_frac"),
        _train("Gradient norm", "grad_norm"),
        _train("Unscored", "unscored_frac"),
        _train("No learning signal", "advantage_zero_frac"),
        _train("Sampler against trainer", "sampler_gap_nats", "sync_gap_nats", only_with="vLLM rollouts"),
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
        _train("Seconds a step", "step_s", "rollout_s", "update_s"),
        _train("vLLM's prefix cache", "prefix_hit_frac", only_with="vLLM rollouts"),
    ],
}
SECTIONS = tuple(Section(title, tuple(panels)) for title, panels in _PANELS.items())
