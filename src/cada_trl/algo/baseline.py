"""Baselines that centre the reward: r~ = r - baseline (paper, Objective: centred reward)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["running", "batch", "group", "leave_one_out", "none"]


@dataclass
class RunningMean:
    """rbar_t = rbar_{t-1} + b_t (r_t - rbar_{t-1}), with r_t the mean reward of step t (paper, Objective).

    rate: b_t, or None for 1/t (ours: the plain average of all steps; the paper gives no b_t); 0 holds it. start:
    rbar_0, or None for the first step's mean (ours); a start counts as one step of the average. It is part of a
    checkpoint and equal on all ranks, since it sees gathered rewards.
    """

    rate: float | None = None
    start: float | None = None
    value: float | None = None
    n_steps: int = 0

    def update(self, step_mean: float) -> float:
        """Take the mean reward of one step and return rbar_t."""
        self.n_steps += 1
        before = self.value if self.value is not None else self.start
        if before is None:
            self.value = step_mean
        else:
            first = self.n_steps if self.start is None else self.n_steps + 1
            rate = 1.0 / first if self.rate is None else self.rate
            self.value = before + rate * (step_mean - before)
        return self.value


def centred_b(reward_b: Tensor, kind: Kind, group_size: int, running: RunningMean) -> Tensor:
    """Advantages [B]: reward minus baseline; rows of a group are neighbours. NaN rewards (unscored) are in no mean, and
    have an advantage of 0, as have those whose baseline has nothing to average.

    running: rbar_t, after this step's mean went in (paper); batch: mean of the step; group: mean of the request's
    rollouts; leave_one_out: mean of its other rollouts (RLOO); none: 0.
    """
    reward_gk = reward_b.view(-1, group_size)
    baseline: float | Tensor = 0.0
    if kind == "batch":
        baseline = float(reward_b.nanmean())
    elif kind == "running":
        step_mean = float(reward_b.nanmean())
        if not math.isnan(step_mean):
            running.update(step_mean)
        baseline = math.nan if running.value is None else running.value
    elif kind == "group":
        baseline = reward_gk.nanmean(dim=1, keepdim=True)
    elif kind == "leave_one_out":
        n_others_g = (~reward_gk.isnan()).sum(dim=1, keepdim=True) - 1
        others_sum_gk = reward_gk.nansum(dim=1, keepdim=True) - reward_gk
        baseline = others_sum_gk / n_others_g  # 0 / 0, which is NaN, where there is no other
    return torch.nan_to_num(reward_gk - baseline, nan=0.0).flatten()


def first_tok_advantage_b(advantage_b: Tensor, token_b: Tensor, judged_b: Tensor, short_b: Tensor) -> Tensor:
    """Advantages [B]; the rows of short_b, completions that end after their first token and are not judged, have the
    mean advantage of the judged rows that begin with the same token, 0 where none does (ours: an estimate of what that
    token is worth in this step, since whether a request is refused is decided there)."""
    same_bb = (token_b[:, None] == token_b[None, :]) & judged_b[None, :]
    mean_b = (same_bb * advantage_b[None, :]).sum(1) / same_bb.sum(1).clamp(min=1)
    return torch.where(short_b, mean_b, advantage_b)


class Baselines:
    """Centres a step's rewards; harmless requests, which can expect another, have a baseline of their own (ours)."""

    def __init__(self, kind: Kind, group_size: int, rate: float | None, start: float | None) -> None:
        self.kind, self.group_size = kind, group_size
        # A rate of 0 holds the start, which the harmless ones have not: theirs is then the average of all steps.
        self.harmful, self.benign = RunningMean(rate, start), RunningMean(rate or None)

    def centred_b(self, reward_b: Tensor, harmful_b: Tensor) -> Tensor:
        """Advantages of the step's gathered rewards; the running means take the step in."""
        advantage_b = torch.zeros_like(reward_b)
        for of_kind_b, running in ((harmful_b, self.harmful), (~harmful_b, self.benign)):
            if of_kind_b.any():
                advantage_b[of_kind_b] = centred_b(reward_b[of_kind_b], self.kind, self.group_size, running)
        return advantage_b

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"running_mean": vars(self.harmful), "benign_running_mean": vars(self.benign)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.harmful = RunningMean(**state["running_mean"])
        self.benign = RunningMean(**state["benign_running_mean"])
