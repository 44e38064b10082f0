"""judging.card: what a judge gives is compared, paid for once and kept by its id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.card import card, card_path, find_card, headline, write_card
from cada_trl.judging.endpoint import Usage
from cada_trl.judging.judge import Judged
from cada_trl.judging.labels import LabelSet, read_label_sets
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict

POOLED = LabelSet(
    "xstest pooled, partial refused",
    "refused",
    [("q", "no"), ("q", "yes"), ("q", "silence"), ("p", "no")],
    [True, False, True, False],
    ["homonyms", "homonyms", "homonyms", "contrast_homonyms"],
)
JAILBROKEN = LabelSet("jailbreakbench, jailbroken", "harmful", [("q", "no"), ("q", "yes")], [False, True])
SAID = {"no": Verdict.REFUSED, "yes": Verdict.COMPLIED, "silence": Verdict.UNSCORED}


class Scripted:
    """Its verdict is the response; labels of harm as asked for; a question costs 10 and 2 tokens."""

    id = "scripted/judge-1"

    def __init__(self, harm: bool = False, refusal: bool = True, score: bool = False) -> None:
        self.usage = Usage()
        self.asked: list[tuple[str, str]] = []
        self._harm, self._refusal, self._score = harm, refusal, score

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        for pair in pairs:
            self.asked.append(pair)
            self.usage.add(10, 2)
        return [self._judge(response) for _, response in pairs]

    def _judge(self, response: str) -> Judged:
        known = response != "silence"
        verdict = SAID[response] if self._refusal else Verdict.UNSCORED
        return Judged(
            verdict,
            response,
            "scripted",
            harmful=response == "yes" if self._harm and known else None,
            harmful_score=float(response == "yes") if self._score and known else None,
        )


def names(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], row["label"]) for row in found["sets"]]


def test_a_pair_of_several_sets_is_judged_once_and_its_cost_counted() -> None:
    judge = Scripted()
    found = card(judge, [POOLED, POOLED, JAILBROKEN])
    assert judge.asked == [("q", "no"), ("q", "yes"), ("q", "silence"), ("p", "no")]
    assert found["cost"] == {"pairs": 4, "calls": 4, "prompt_tok": 40, "completion_tok": 8}
    assert found["speed"]["pairs_per_s"] > 0


def test_the_kinds_of_request_have_their_own_confusion() -> None:
    found = card(Scripted(), [POOLED])
    row = found["sets"][0]
    counts = ("true_yes", "false_yes", "false_no", "true_no", "unscored")
    assert [row[count] for count in counts] == [1, 1, 0, 1, 1]
    groups = found["groups"]["xstest pooled, partial refused (refused)"]
    assert [(one["name"], one["n"], one["accuracy"]) for one in groups] == [
        ("contrast_homonyms", 1, 0.0),
        ("homonyms", 2, 1.0),
    ]


def test_a_judge_is_compared_on_the_labels_that_it_gives() -> None:
    refused, harmful = (POOLED.name, "refused"), (JAILBROKEN.name, "harmful")
    both = [POOLED, JAILBROKEN]
    assert names(card(Scripted(), both)) == [refused]
    assert names(card(Scripted(harm=True), both)) == [refused, harmful]
    assert names(card(Scripted(harm=True, refusal=False), both)) == [harmful]
    silent = card(Scripted(refusal=False), both)
    assert [(row["n"], row["accuracy"]) for row in silent["sets"]] == [(0, None)]


def test_a_score_is_judged_by_its_order_not_by_a_threshold() -> None:
    found = card(Scripted(score=True), [POOLED, JAILBROKEN])
    assert names(found) == [(POOLED.name, "refused")]  # no label of harm: the score has no line through it
    assert found["order"] == [{"name": JAILBROKEN.name, "n_harmful": 1, "n_other": 1, "area": 1.0}]
    assert "orders JailbreakBench's responses with an area of 1.00" in headline(found)


def test_the_headline_is_one_sentence_with_the_interval() -> None:
    said = headline(card(Scripted(), [POOLED]))
    agrees = "66.7 % [20.8, 93.9], kappa 0.40 on 3 of XSTest's completions"
    assert said == f"Agreement of the judge scripted/judge-1 with people: {agrees}."
    assert "not measured" in headline(card(Scripted(refusal=False), [POOLED]))


def test_a_card_is_kept_under_its_judges_id(tmp_path: Path) -> None:
    found = card(Scripted(), [POOLED])
    write_card(found, tmp_path / "cards")
    assert find_card("scripted/judge-1", tmp_path / "cards") == json.loads(json.dumps(found))
    assert find_card("scripted/judge-2", tmp_path / "cards") is None
    assert find_card("scripted/judge-1", None) is None
    card_path("scripted/judge-1", tmp_path / "cards").write_text("{")
    with pytest.raises(UserError, match="not a judge card"):
        find_card("scripted/judge-1", tmp_path / "cards")


def test_the_offline_judges_card_comes_with_the_package() -> None:
    found = find_card(PhraseJudge().id, None)
    assert found is not None, "run make judge-card and put its card into judging/assets as card_<judge id>.json"
    assert "on 2250 of XSTest's completions" in headline(found)


def test_the_packaged_card_is_what_the_labels_say(shared_data: Path) -> None:
    stored = find_card(PhraseJudge().id, None)
    measured = card(PhraseJudge(), read_label_sets(shared_data))
    assert stored is not None
    for key in ("labels", "sets", "groups", "cost"):
        assert stored[key] == measured[key]
