"""The reward table cell by cell, and what the judge gets to see."""

import math

import pytest

from cada_trl.config import RewardConfig
from cada_trl.errors import UserError
from cada_trl.judging.judge import Judged
from cada_trl.records import Status, Verdict
from cada_trl.reward import reward_of, score_completions, unjudged

# Six different numbers: a cell taken for another shows.
TABLE = RewardConfig(
    complied=-1.0,
    direct_refusal=0.0,
    reasoned_refusal=1.0,
    benign_refused=-2.0,
    benign_answered=2.0,
    benign_reasoned_answer=3.0,
)
REASONED = "### Analysis\nIt harms.\n### Final Response\nNo."


class SpyJudge:
    """Gives the verdicts it was made with, in order, and notes every pair it was asked about."""

    id = "spy"

    def __init__(self, *verdicts):
        self.verdicts, self.seen = verdicts, list[tuple[str, str]]()

    def judge(self, pairs):
        self.seen += pairs
        return [Judged(verdict, raw="", reason="") for verdict in self.verdicts]


class FailingJudge:
    id = "failing"

    def judge(self, pairs):
        raise UserError("the judge cannot be reached")


@pytest.mark.parametrize(
    ("verdict", "reasoned", "harmful", "reward"),
    [
        (Verdict.COMPLIED, False, True, -1.0),
        (Verdict.COMPLIED, True, True, -1.0),
        (Verdict.REFUSED, False, True, 0.0),
        (Verdict.REFUSED, True, True, 1.0),
        (Verdict.REFUSED, False, False, -2.0),
        (Verdict.REFUSED, True, False, -2.0),
        (Verdict.COMPLIED, False, False, 2.0),
        (Verdict.COMPLIED, True, False, 3.0),
    ],
)
def test_every_cell_of_the_table(verdict, reasoned, harmful, reward):
    assert reward_of(verdict, reasoned, harmful, TABLE) == reward


@pytest.mark.parametrize("reasoned", [True, False])
@pytest.mark.parametrize("harmful", [True, False])
def test_unscored_is_nan_and_never_a_number(reasoned, harmful):
    assert math.isnan(reward_of(Verdict.UNSCORED, reasoned, harmful, TABLE))


def test_the_judge_sees_the_raw_request_and_the_final_response_only():
    judge = SpyJudge(Verdict.REFUSED, Verdict.COMPLIED)
    score_completions(["the request", "another"], [REASONED, "Of course."], [False] * 2, [True] * 2, judge, TABLE)
    assert judge.seen == [("the request", "No."), ("another", "Of course.")]


def test_verdict_split_and_reward_stay_with_their_completion():
    completions = [REASONED, "No.", "Of course.", REASONED, "Of course.", "### Analysis\nIt ha"]
    truncated = [False] * 5 + [True]
    harmful = [True, True, True, False, False, True]
    refused, complied = Verdict.REFUSED, Verdict.COMPLIED
    judge = SpyJudge(refused, refused, complied, refused, complied, Verdict.UNSCORED)
    scored = score_completions(["r"] * 6, completions, truncated, harmful, judge, TABLE)
    assert [one.completion for one in scored] == completions
    assert [one.reward for one in scored[:5]] == [1.0, 0.0, -1.0, -2.0, 2.0]
    assert math.isnan(scored[5].reward) and scored[5].reasoning.status is Status.TRUNCATED


def test_each_reasoned_refusal_is_graded_by_its_own_hazard():
    class SpyReasoningJudge:
        def grade(self, rows):
            self.rows = list(rows)
            return [0.5, 0.25]

    reasoning_judge = SpyReasoningJudge()
    scored = score_completions(
        ["one", "safe", "two", "three"],
        [REASONED, REASONED, "No.", REASONED],
        [False] * 4,
        [True, False, True, True],
        SpyJudge(*[Verdict.REFUSED] * 4),
        TABLE,
        reasoning_judge,
        ["fraud", "none", "weapons", "privacy"],
    )
    assert reasoning_judge.rows == [("one", "fraud", "It harms."), ("three", "privacy", "It harms.")]
    assert [one.reward for one in scored] == [0.5, -2.0, 0.0, 0.25]


def test_a_refusal_cut_off_before_its_response_is_not_paid_as_reasoned():
    cut = "### Analysis\nI cannot help, since it har"
    (scored,) = score_completions(["r"], [cut], [True], [True], SpyJudge(Verdict.REFUSED), TABLE)
    assert scored.reward == TABLE.direct_refusal


def test_a_judge_that_fails_stops_the_scoring_and_pays_nothing():
    with pytest.raises(UserError, match="the judge cannot be reached"):
        score_completions(["r"], ["No."], [False], [True], FailingJudge(), TABLE)


def test_a_judge_that_answers_too_few_is_not_stretched_over_the_rest():
    with pytest.raises(ValueError, match="shorter"):
        score_completions(["r", "s"], ["No.", "No."], [False] * 2, [True] * 2, SpyJudge(Verdict.REFUSED), TABLE)


def test_a_reasoned_refusal_earns_what_the_table_has_to_the_last_digit():
    table = TABLE.model_copy(update={"direct_refusal": 0.3, "reasoned_refusal": 0.9})  # 0.3 + (0.9 - 0.3) is above 0.9
    assert reward_of(Verdict.REFUSED, True, True, table) == 0.9


def test_no_completions_score_to_nothing():
    assert score_completions([], [], [], [], SpyJudge(), TABLE) == []


def test_an_unjudged_completion_is_split_and_has_no_verdict_and_no_reward():
    one = unjudged(REASONED, truncated=False)
    assert (one.completion, one.verdict) == (REASONED, Verdict.UNSCORED)
    assert (one.reasoning.analysis, one.reasoning.final_response) == ("It harms.", "No.")
    assert math.isnan(one.reward)
    assert unjudged("### Analysis\nIt", truncated=True).reasoning.status == Status.TRUNCATED
