"""The reward table cell by cell, and what the judge gets to see."""

import math

import pytest

from cada_trl.config import RewardConfig
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
HARMFUL, HARMLESS = ({"request": "r", "harmful": harmful} for harmful in (True, False))


class SpyJudge:
    """Gives the verdicts it was made with, in order, and notes every pair it was asked about."""

    id = "spy"

    def __init__(self, *verdicts):
        self.verdicts, self.seen = verdicts, list[tuple[str, str]]()

    def judge(self, pairs):
        self.seen += pairs
        return [Judged(verdict, raw="", reason="") for verdict in self.verdicts]


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
    rows = [HARMFUL | {"request": "the request"}, HARMFUL | {"request": "another"}]
    score_completions(rows, [REASONED, "Of course."], [False] * 2, judge, TABLE)
    assert judge.seen == [("the request", "No."), ("another", "Of course.")]


def test_verdict_split_and_reward_stay_with_their_completion():
    completions = [REASONED, "No.", "Of course.", REASONED, "Of course.", "### Analysis\nIt ha"]
    truncated = [False] * 5 + [True]
    rows = [HARMFUL, HARMFUL, HARMFUL, HARMLESS, HARMLESS, HARMFUL]
    refused, complied = Verdict.REFUSED, Verdict.COMPLIED
    judge = SpyJudge(refused, refused, complied, refused, complied, Verdict.UNSCORED)
    scored = score_completions(rows, completions, truncated, judge, TABLE)
    assert [one.completion for one in scored] == completions
    assert [one.reward for one in scored[:5]] == [1.0, 0.0, -1.0, -2.0, 2.0]
    assert math.isnan(scored[5].reward) and scored[5].reasoning.status is Status.TRUNCATED


def test_each_reasoned_refusal_is_graded_by_its_own_hazard():
    class SpyReasoningJudge:
        def grade(self, rows):
            self.rows = list(rows)
            return [0.5, 0.25]

    reasoning_judge = SpyReasoningJudge()
    asked = [("one", "fraud", True), ("safe", "none", False), ("two", "weapons", True), ("three", "privacy", True)]
    rows = [{"request": request, "hazard": hazard, "harmful": harmful} for request, hazard, harmful in asked]
    completions, judge = [REASONED, REASONED, "No.", REASONED], SpyJudge(*[Verdict.REFUSED] * 4)
    scored = score_completions(rows, completions, [False] * 4, judge, TABLE, reasoning_judge)
    assert reasoning_judge.rows == [("one", "fraud", "It harms."), ("three", "privacy", "It harms.")]
    assert [one.reward for one in scored] == [0.5, -2.0, 0.0, 0.25]


def test_a_refusal_cut_off_before_its_response_is_not_paid_as_reasoned():
    cut = "### Analysis\nI cannot help, since it har"
    (scored,) = score_completions([HARMFUL], [cut], [True], SpyJudge(Verdict.REFUSED), TABLE)
    assert scored.reward == TABLE.direct_refusal


def test_a_judge_that_answers_too_few_is_not_stretched_over_the_rest():
    with pytest.raises(ValueError, match="shorter"):
        score_completions([HARMFUL] * 2, ["No."] * 2, [False] * 2, SpyJudge(Verdict.REFUSED), TABLE)


def test_a_reasoned_refusal_earns_what_the_table_has_to_the_last_digit():
    table = TABLE.model_copy(update={"direct_refusal": 0.3, "reasoned_refusal": 0.9})  # 0.3 + (0.9 - 0.3) is above 0.9
    assert reward_of(Verdict.REFUSED, True, True, table) == 0.9


def test_no_completions_score_to_nothing():
    assert score_completions([], [], [], SpyJudge(), TABLE) == []


def test_an_unjudged_completion_is_split_and_has_no_verdict_and_no_reward():
    one = unjudged(REASONED, truncated=False)
    assert (one.completion, one.verdict) == (REASONED, Verdict.UNSCORED)
    assert (one.reasoning.analysis, one.reasoning.final_response) == ("It harms.", "No.")
    assert math.isnan(one.reward)
    assert unjudged("### Analysis\nIt", truncated=True).reasoning.status == Status.TRUNCATED
