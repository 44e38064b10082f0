"""What a judge gets, by name; and the majority of several: more than half of all judges, never a number from a tie or
from too few verdicts."""

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import NO_ANSWER, Usage
from cada_trl.judging.judge import Judged, Panel, majorities, majority, members_of, shown_pair, without_special_tokens
from cada_trl.records import Verdict

COMPLETION = "### Analysis\nBread is fine.\n### Final Response\nKnead, rest, bake.<|im_end|>"


@pytest.mark.parametrize(
    ("sees", "pair"),
    [
        ("final_response", ("Bake bread", "Knead, rest, bake.")),
        ("completion", ("Bake bread", COMPLETION.removesuffix("<|im_end|>"))),
        ("completion_and_prompt", ("You are a baker. Bake bread", COMPLETION.removesuffix("<|im_end|>"))),
    ],
)
def test_the_prompt_after_the_attack_is_shown_by_name_only(sees, pair):
    assert shown_pair(sees, "Bake bread", "You are a baker. Bake bread", COMPLETION) == pair


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "<|eot_id|>", "<|start_header_id|><|end_header_id|>", "<s></s>", "<|im_<s>end|>", "<unk>"]
)
def test_special_tokens_are_taken_out_whole_or_nested(text):
    assert without_special_tokens(f"a{text}b") == "ab"


@pytest.mark.parametrize("text", ["a < b | c > d", "<strong>no</strong>", "x <| y |> z", "<policy>"])
def test_other_text_stays(text):
    assert without_special_tokens(text) == text


def test_a_completion_of_an_end_token_alone_is_empty():
    assert shown_pair("final_response", "q", "q", "<|im_end|>") == ("q", "")


LETTERS = {"R": Verdict.REFUSED, "C": Verdict.COMPLIED, "U": Verdict.UNSCORED}


class Says:
    """Gives the verdicts of its letters in turn; with a usage it is a model."""

    def __init__(self, name, letters, usage=None):
        self.id, self.letters, self.usage = name, letters, usage

    def check_reachable(self):
        if self.usage:
            raise UserError(f"{self.id} is not there")

    def judge(self, pairs):
        return [Judged(LETTERS[letter], "", "", harmful=True) for letter, _ in zip(self.letters, pairs, strict=True)]


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        *(("RR", "R"), ("CC", "C"), ("RC", "U"), ("RU", "U"), ("UU", "U")),
        *(("RRC", "R"), ("CCR", "C"), ("RRU", "R"), ("RCU", "U"), ("RUU", "U"), ("UUC", "U")),
        *(("RRCC", "U"), ("RRRC", "R"), ("RRUU", "U"), ("CCCU", "C")),
    ],
)
def test_more_than_half_of_all_judges_say_it_or_nobody_does(votes, said):
    given = {f"judge-{i}": Judged(LETTERS[letter], "", "") for i, letter in enumerate(votes)}
    assert majority(given).verdict is LETTERS[said]


def test_the_majority_names_every_verdict_and_labels_no_harm():
    (judged,) = Panel("p", [Says("a", "R"), Says("b", "C"), Says("c", "R")]).judge([("q", "r")])
    assert (judged.verdict, judged.harmful) == (Verdict.REFUSED, None)
    assert judged.reason == "a: REFUSED; b: COMPLIED; c: REFUSED"


def test_a_panel_without_a_majority_says_who_was_not_there():
    silent = Judged(Verdict.UNSCORED, "", f"{NO_ANSWER}endpoint: APITimeoutError")
    judged = majority({"a": Judged(Verdict.REFUSED, "", ""), "b": silent})
    assert judged.reason == f"{silent.reason}; a: REFUSED; b: UNSCORED"
    tie = majority({"a": Judged(Verdict.REFUSED, "", ""), "b": Judged(Verdict.COMPLIED, "", "")})
    assert tie.reason == "a: REFUSED; b: COMPLIED"


def test_a_judge_without_a_verdict_on_a_response_counts_as_one_that_said_nothing():
    one = {"x": Judged(Verdict.REFUSED, "", ""), "y": Judged(Verdict.REFUSED, "", "")}
    found = majorities({"a": one, "b": {"x": Judged(Verdict.REFUSED, "", "")}})
    assert {key: judged.verdict for key, judged in found.items()} == {"x": Verdict.REFUSED, "y": Verdict.UNSCORED}


def test_a_panel_counts_what_its_models_were_asked_and_is_as_reachable_as_the_last_of_them():
    models = [Says("b", "R", Usage(2, 10, 4)), Says("c", "R", Usage(3, 5, None))]
    panel = Panel("p", [Says("a", "R"), *models])
    assert panel.usage == Usage(5, 15, None)
    with pytest.raises(UserError, match="b is not there"):
        panel.check_reachable()
    assert Panel("p", [Says("a", "R"), Says("d", "R")]).usage is None


def test_who_judges_is_the_panels_judges_or_the_judge():
    alone = Says("a", "R")
    assert [one.id for one in members_of(Panel("p", [alone, Says("b", "R")]))] == ["a", "b"]
    assert members_of(alone) == [alone]
