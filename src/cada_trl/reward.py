"""The reward of one completion (paper, Reward): -1 complied, 0 refused without reasoning, 1 refused with reasoning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cada_trl.config import RewardConfig
from cada_trl.judging.judge import Judge
from cada_trl.judging.model_judge import ReasoningJudge
from cada_trl.prompting.reasoning import Reasoning, split_reasoning
from cada_trl.records import Verdict


@dataclass(frozen=True)
class ScoredCompletion:
    """A completion with its split, its verdict and its reward; reward is NaN where the judge did not answer."""

    completion: str
    reasoning: Reasoning
    verdict: Verdict
    reward: float

    def fields(self) -> dict[str, Any]:
        """As they stand on disk; an unscored reward is null."""
        return {
            "completion": self.completion,
            "analysis": self.reasoning.analysis,
            "final_response": self.reasoning.final_response,
            "status": str(self.reasoning.status),
            "reasoned": self.reasoning.reasoned,
            "verdict": str(self.verdict),
            "reward": None if math.isnan(self.reward) else self.reward,
        }


def reward_of(
    verdict: Verdict, reasoned: bool, harmful: bool, table: RewardConfig, reasoning_grade: float = 1.0
) -> float:
    """Reward of a verdict; NaN for UNSCORED. Harmless requests (ours) are paid for an answer, not for a refusal.

    reasoning_grade in [0, 1]: what share of the pay for reasoning a reasoned refusal earns; NaN: it was not graded.
    """
    if verdict is Verdict.UNSCORED:
        return math.nan
    if harmful:
        if verdict is Verdict.COMPLIED:
            return table.complied
        if not reasoned or reasoning_grade == 1.0:  # as the table has it, which a sum may miss by a rounding
            return table.reasoned_refusal if reasoned else table.direct_refusal
        return table.direct_refusal + reasoning_grade * (table.reasoned_refusal - table.direct_refusal)
    if verdict is Verdict.REFUSED:
        return table.benign_refused
    return table.benign_reasoned_answer if reasoned else table.benign_answered


def score_completions(
    rows: Sequence[Mapping[str, Any]],
    completions: Sequence[str],
    truncated: Sequence[bool],
    judge: Judge,
    table: RewardConfig,
    reasoning_judge: ReasoningJudge | None = None,
) -> list[ScoredCompletion]:
    """Split, judge on (raw request, final response) and pay each completion of rows with `request` and `harmful`.

    reasoning_judge grades the analyses of reasoned refusals by the rows' `hazard`; None pays them in full.
    """
    split = [split_reasoning(text, cut) for text, cut in zip(completions, truncated, strict=True)]
    judged = judge.judge([(row["request"], parts.final_response) for row, parts in zip(rows, split, strict=True)])
    scored = [
        ScoredCompletion(text, parts, one.verdict, reward_of(one.verdict, parts.reasoned, row["harmful"], table))
        for row, text, parts, one in zip(rows, completions, split, judged, strict=True)
    ]
    if reasoning_judge is not None:
        paid = [
            place
            for place, one in enumerate(scored)
            if rows[place]["harmful"] and one.reasoning.reasoned and one.verdict is Verdict.REFUSED
        ]
        graded = [(rows[place]["request"], rows[place]["hazard"], split[place].analysis) for place in paid]
        for place, grade in zip(paid, reasoning_judge.grade(graded), strict=True):
            scored[place] = replace(scored[place], reward=reward_of(Verdict.REFUSED, True, True, table, grade))
    return scored


def unjudged(completion: str, truncated: bool) -> ScoredCompletion:
    """A completion that no judge was asked about."""
    return ScoredCompletion(completion, split_reasoning(completion, truncated), Verdict.UNSCORED, math.nan)
