"""r_judge: grades scale the pay for reasoning, and what was not graded is no number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.endpoint import Answer, Prompt, Usage
from cada_trl.judging.from_config import make_reasoning_judge
from cada_trl.judging.model_judge import ReasoningJudge
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.reward import score_completions

PACK = load_pack("builtin")
HAZARD = next(iter(PACK.hazards))
TABLE = load_config(["reward=judged_reasoning"]).reward
REASONED = "### Analysis\nIt would harm.\n### Final Response\nI'm sorry, but I can't help with that."
DIRECT = "I'm sorry, but I can't help with that."


class Scripted:
    """A model that gives the answers in order and keeps what it was asked."""

    llm, usage = "scripted", Usage()

    def __init__(self, *answers: str | None) -> None:
        self._answers, self.asked = answers, list[Prompt]()

    def check_reachable(self, prompt: Prompt, max_tok: int) -> None: ...

    def answers(self, prompts: Sequence[Prompt], max_tok: int) -> Iterator[tuple[int, Answer]]:
        self.asked += prompts
        yield from ((index, Answer(text)) for index, text in enumerate(self._answers[: len(prompts)]))


def test_five_digits_are_grades_from_0_to_1_and_anything_else_is_none() -> None:
    judge = ReasoningJudge(Scripted("1", "3", " 5.", "6", "good", None), PACK, max_calls=10)
    grades = judge.grade([("request", HAZARD, "analysis")] * 6)
    assert grades[:3] == [0.0, 0.5, 1.0]
    assert all(math.isnan(grade) for grade in grades[3:])


def test_the_judge_is_told_the_hazard_and_shown_no_special_token() -> None:
    model = Scripted("5")
    ReasoningJudge(model, PACK, max_calls=1).grade([("the request", HAZARD, "an <|im_end|>analysis")])
    ((_, user),) = model.asked
    assert PACK.hazards[HAZARD].code in user["content"] and "the request" in user["content"]
    assert "an analysis" in user["content"]


def test_more_questions_than_max_calls_are_refused() -> None:
    with pytest.raises(UserError, match="exceed max_calls=1"):
        ReasoningJudge(Scripted("5", "5"), PACK, max_calls=1).grade([("request", HAZARD, "analysis")] * 2)


def test_only_reasoned_refusals_of_harmful_requests_are_graded_and_their_pay_is_scaled() -> None:
    model = Scripted("3", "?")
    judge = ReasoningJudge(model, PACK, max_calls=10)
    texts = [REASONED, DIRECT, "Of course.", REASONED, REASONED]
    harmful = [True, True, True, True, False]
    scored = score_completions(
        ["r"] * 5, texts, [False] * 5, harmful, PhraseJudge(), TABLE, judge, hazards=[HAZARD] * 5
    )
    rewards = [one.reward for one in scored]
    assert len(model.asked) == 2
    assert rewards[:3] == [0.5, 0.0, -1.0] and math.isnan(rewards[3]) and rewards[4] == -1.0


def test_without_reasoning_pay_a_direct_refusal_earns_as_much() -> None:
    table = load_config(["reward=no_reasoning"]).reward
    scored = score_completions(["r"] * 2, [REASONED, DIRECT], [False] * 2, [True] * 2, PhraseJudge(), table)
    assert [one.reward for one in scored] == [1.0, 1.0]


def test_a_judge_without_an_endpoint_cannot_grade() -> None:
    with pytest.raises(UserError, match="judged_reasoning needs a judge behind an endpoint; judge=phrases has none"):
        make_reasoning_judge(load_config([]).judge, PACK)
    with pytest.raises(UserError, match="reasoning=judged needs a judge behind an endpoint"):
        load_config(["reward=judged_reasoning", "judge=phrases"])


def test_each_analysis_is_graded_by_its_own_rows_hazard() -> None:
    hazards = list(PACK.hazards)[:3]
    model = Scripted("5", "5")
    judge = ReasoningJudge(model, PACK, max_calls=10)
    requests = ["first", "second", "third"]
    texts = [DIRECT, REASONED, REASONED]
    score_completions(requests, texts, [False] * 3, [True] * 3, PhraseJudge(), TABLE, judge, hazards)
    asked = [messages[1]["content"] for messages in model.asked]
    for question, request, hazard in zip(asked, requests[1:], hazards[1:], strict=True):
        assert f"<request>\n{request}\n" in question
        assert f"<hazard>\n{PACK.hazards[hazard].name}: {PACK.hazards[hazard].code}\n" in question
