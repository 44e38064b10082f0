"""Attempts joined with what came back: one outcome an attempt, in which what is not known is None. Pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cada_trl.errors import UserError
from cada_trl.evals.items import Attempt, Response
from cada_trl.judging.judge import Judged
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict

RateName = Literal["refused", "complied", "harmful", "reasoning", "truncated"]


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to.

    None: no response, no verdict, UNSCORED, or a label that this judge does not give. reasoning: both headers are there
    with an analysis, as the reward pays it; truncated: sampling stopped at max_new_tok. Both need the response alone.
    """

    attempt: Attempt
    refused: bool | None
    harmful: bool | None
    harmful_score: float | None
    reasoning: bool | None
    truncated: bool | None

    @property
    def complied(self) -> bool | None:
        """Not refused: 1 - refusal of the paper's ASR and NRR."""
        return None if self.refused is None else not self.refused

    @property
    def scored(self) -> bool:
        """The judge gave a label: refusal, harm or both."""
        return self.refused is not None or self.harmful is not None

    @property
    def cell(self) -> tuple[str, str]:
        """(benchmark, attack)."""
        return self.attempt.item.benchmark, self.attempt.attack


def join(attempts: Sequence[Attempt], responses: Iterable[Response], verdicts: Mapping[str, Judged]) -> list[Outcome]:
    """One outcome an attempt, in the attempts' order. verdicts: attempt key -> what one judge said of its response.

    Errors: UserError for files that do not belong together: two attempts of one id, a response to none of the attempts,
    two responses to one that differ, a verdict without a response; ValueError for a harmful_score outside [0, 1].
    """
    keys = {attempt.key for attempt in attempts}
    if len({attempt.id for attempt in attempts}) < len(attempts):
        raise UserError("attempts name one item and attack twice; files were mixed up: take each from one evaluation")
    by_key = _by_key(responses, keys)
    if homeless := verdicts.keys() - by_key.keys():
        raise UserError(
            f"{len(homeless)} verdict(s) on responses that are not there (as {min(homeless)}); files were mixed up: "
            "take attempts, responses and verdicts from one evaluation"
        )
    return [_outcome(attempt, by_key.get(attempt.key), verdicts.get(attempt.key)) for attempt in attempts]


def _by_key(responses: Iterable[Response], keys: set[str]) -> dict[str, Response]:
    by_key: dict[str, Response] = {}
    for response in responses:
        if response.key not in keys:
            raise UserError(
                f"response {response.key} answers none of the {len(keys)} attempts; files were mixed up: take attempts "
                "and responses from one evaluation"
            )
        if by_key.setdefault(response.key, response) != response:
            raise UserError(
                f"two responses to the attempt {response.key} differ; files were mixed up: keep those of one run"
            )
    return by_key


def _outcome(attempt: Attempt, response: Response | None, judged: Judged | None) -> Outcome:
    known = judged is not None and judged.verdict is not Verdict.UNSCORED
    score = judged.harmful_score if judged else None
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"harmful_score {score} of {attempt.id}; expected one in [0, 1]")
    return Outcome(
        attempt,
        refused=judged.verdict is Verdict.REFUSED if judged is not None and known else None,
        harmful=judged.harmful if judged else None,
        harmful_score=score,
        reasoning=split_reasoning(response.completion, response.truncated).reasoned if response else None,
        truncated=response.truncated if response else None,
    )
