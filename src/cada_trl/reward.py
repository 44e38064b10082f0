"""The reward of one completion (paper, Reward): -1 complied, 0 refused without reasoning, 1 refused with reasoning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.config import RewardConfig
from cada_trl.judging.judge import Judge
from cada_trl.prompting.reasoning import Reasoning, split_reasoning
from cada_trl.records import Verdict


@dataclass(frozen=True)
class ScoredCompletion:
    """A completion with its split, its verdict and its reward; reward is NaN where the judge did not answer."""

    completion: str
    reasoning: Reasoning
    verdict: Verdict
    reward: float


def reward_of(verdict: Verdict, reasoned: bool, harmful: bool, table: RewardConfig) -> float:
    """Reward of a verdict; NaN for UNSCORED. Harmless requests (ours) are paid for an answer, not for a refusal."""
    if verdict is Verdict.UNSCORED:
        return math.nan
    if harmful:
        if verdict is Verdict.COMPLIED:
            return table.complied
        return table.reasoned_refusal if reasoned else table.direct_refusal
    if verdict is Verdict.REFUSED:
        return table.benign_refused
    return table.benign_reasoned_answer if reasoned else table.benign_answered


def score_completions(
    requests: Sequence[str],
    completions: Sequence[str],
    truncated: Sequence[bool],
    harmful: Sequence[bool],
    judge: Judge,
    table: RewardConfig,
) -> list[ScoredCompletion]:
    """Split, judge on (raw request, final response) and pay each completion."""
    split = [split_reasoning(text, cut) for text, cut in zip(completions, truncated, strict=True)]
    judged = judge.judge([(request, one.final_response) for request, one in zip(requests, split, strict=True)])
    return [
        ScoredCompletion(text, one, said.verdict, reward_of(said.verdict, one.reasoned, is_harmful, table))
        for text, one, said, is_harmful in zip(completions, split, judged, harmful, strict=True)
    ]
