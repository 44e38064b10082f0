"""What happened in one optimiser step: a dict per completion, and the step's metrics from all ranks' dicts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from cada_trl.records import Verdict

COLUMNS = ("request_id", "request", "hazard", "harmful", "prompt_arm")


class StepRecord:
    """Collects the rollouts of a step, then their log-probabilities and KL as the micro-batches pass."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._loss = 0.0

    def start(self, part: Mapping[str, Any], anchors: Sequence[bool], baseline: float | None, rollout_s: float) -> None:
        """Begin a step with this rank's rollouts: inputs, scored (ScoredCompletion), truncated, completion_mask and
        advantages of each; anchors were not judged."""
        self._started_s, self._rollout_s = time.perf_counter() - rollout_s, rollout_s
        self._baseline, self._loss = baseline, 0.0
        lengths = part["completion_mask"].sum(dim=1).tolist()
        advantages = part["advantages"].tolist()
        self._rows = []
        for row, scored, anchor, cut, length, advantage in zip(
            part["inputs"], part["scored"], anchors, part["truncated"], lengths, advantages, strict=True
        ):
            self._rows.append(
                {
                    **{key: row[key] for key in COLUMNS if key in row},
                    **scored.fields(),
                    "anchor": anchor,
                    "advantage": advantage,
                    "kl_nats": None,
                    "completion_tok": length,
                    "truncated": cut,
                }
            )

    def add(self, rows: Sequence[int], **values_b: Tensor) -> None:
        """What a micro-batch finds out about its completions, by the names that the metrics read: sums over tokens."""
        for name, value_b in values_b.items():
            for index, value in zip(rows, value_b.tolist(), strict=True):
                self._rows[index][name] = value

    def add_loss(self, loss: Tensor) -> None:
        """The micro-batch's share of the step's loss."""
        self._loss += float(loss.detach())

    def rows(self) -> list[dict[str, Any]]:
        return [{**row, "loss_share": self._loss / max(len(self._rows), 1)} for row in self._rows]

    def metrics(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """The step's metrics from the completions of all ranks; a metric without any row behind it is NaN.

        Anchors, which no judge was asked about, count in the loss and in the KL of harmless requests only.
        """
        loss, benign_kl = sum(row["loss_share"] for row in rows), [row for row in rows if not row.get("harmful", True)]
        rows = [row for row in rows if not row["anchor"]]
        scored = [row for row in rows if row["reward"] is not None]
        harmful = [row for row in scored if row.get("harmful", True)]
        benign = [row for row in scored if not row.get("harmful", True)]
        rewards = [row["reward"] for row in scored]
        step_s = time.perf_counter() - self._started_s
        verdicts = [(row["verdict"] == Verdict.REFUSED, row["reasoned"]) for row in harmful]
        n_tok = sum(row["completion_tok"] for row in rows if "entropy_sum_nats" in row)
        values = {
            "loss": loss,
            "reward_mean": _mean(rewards),
            "reward_sd": math.sqrt(_mean([(r - _mean(rewards)) ** 2 for r in rewards])) if rewards else math.nan,
            "baseline": math.nan if self._baseline is None else self._baseline,
            "advantage_mean": _mean([row["advantage"] for row in scored]),
            "advantage_zero_frac": _mean([abs(row["advantage"]) < 1e-9 for row in rows]),
            "kl_nats": _mean_of(rows, "kl_nats"),
            "benign_kl_nats": _mean_of(benign_kl, "kl_nats"),
            "kl_k1_nats": _mean_of(rows, "kl_k1_nats"),
            "kl_k3_nats": _mean_of(rows, "kl_k3_nats"),
            "entropy_nats": sum(row.get("entropy_sum_nats", 0.0) for row in rows) / n_tok if n_tok else math.nan,
            "completion_tok": _mean([row["completion_tok"] for row in rows]),
            "truncated_frac": _mean([row["truncated"] for row in rows]),
            "reasoned_refusal_frac": _mean([refused and reasoned for refused, reasoned in verdicts]),
            "direct_refusal_frac": _mean([refused and not reasoned for refused, reasoned in verdicts]),
            "comply_frac": _mean([row["verdict"] == Verdict.COMPLIED for row in harmful]),
            "unscored_frac": _mean([row["reward"] is None for row in rows]),
            "benign_answered_frac": _mean([row["verdict"] == Verdict.COMPLIED for row in benign]),
            "rollout_s": self._rollout_s,
            "update_s": step_s - self._rollout_s,
            "step_s": step_s,
        }
        return {f"train/{name}": value for name, value in (values | _mismatch(rows)).items()}


def _mismatch(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares of the tokens that the correction of vLLM's samples touched; nothing where there was none."""
    rows = [row for row in rows if "capped_tok" in row]  # those of the update
    if not rows:
        return {}
    n_tok = sum(row["completion_tok"] for row in rows)
    n_unweighted = sum(row["unweighted_tok"] for row in rows)
    gap = sum(row["sampler_gap_sum_nats"] for row in rows)
    return {
        "importance_capped_frac": sum(row["capped_tok"] for row in rows) / n_tok,
        "importance_masked_frac": n_unweighted / n_tok,
        "sampler_gap_nats": gap / (n_tok - n_unweighted) if n_tok > n_unweighted else math.nan,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _mean_of(rows: Sequence[dict[str, Any]], key: str) -> float:
    return _mean([row[key] for row in rows if row.get(key) is not None])
