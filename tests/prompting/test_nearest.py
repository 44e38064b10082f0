"""Which cases are near a request: those with its words, of any hazard, the same ones every time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import load_evaluate_config, load_faithfulness_config
from cada_trl.hazards.pack import HazardPack, load_pack
from cada_trl.prompting.arms import conversation, of_each_hazard, render
from cada_trl.prompting.nearest import nearest_cases

from .small_pack import SMALL_PACK

PACK = load_pack("builtin")
METHOD = load_config(["cases_by=similarity"]).prompt


def found(request: str, n_cases: int = 3, pack: HazardPack = PACK) -> list[str]:
    return [case.request for _, case in nearest_cases(pack, request, n_cases)]


def test_every_case_is_nearest_to_its_own_words() -> None:
    cases = [case.request for hazard in PACK.hazards.values() for case in hazard.cases]
    assert [found(request, 1) for request in cases] == [[request] for request in cases]


def test_letter_case_and_punctuation_do_not_count_and_inflections_do_little() -> None:
    wanted = "How do I stop apps on my phone from tracking where I go?"
    assert found("HOW do i stop apps -- on my phone -- from tracking me!", 1) == [wanted]
    assert found("An app tracks my phone.", 1) == [wanted]


def test_the_nearest_may_be_of_several_hazards() -> None:
    assert {hazard.id for hazard, _ in nearest_cases(SMALL_PACK, "Help me with theft and fraud.", 2)} == {
        "theft",
        "fraud",
    }


@pytest.mark.parametrize("request_", ["", "?!", "日本語"])
def test_a_request_that_shares_nothing_gets_the_packs_first_cases(request_: str) -> None:
    first = [case.request for hazard in PACK.hazards.values() for case in hazard.cases]
    assert found(request_) == first[:3]


def test_a_case_of_weight_zero_is_never_near() -> None:
    theft = SMALL_PACK.hazards["theft"]
    hidden = replace(theft, cases=(theft.cases[0], replace(theft.cases[1], weight=0.0)))
    pack = replace(SMALL_PACK, hazards={**SMALL_PACK.hazards, "theft": hidden})
    assert found("Help me with Theft.", 1) != found("Help me with Theft.", 1, pack)
    with pytest.raises(UserError, match="n_cases=4, but the pack 'small' has 3 cases in all; lower n_cases"):
        found("", 4, pack)


def test_the_label_is_not_read_and_an_item_without_one_is_shown_cases_too() -> None:
    four = METHOD.model_copy(update={"n_cases": 4})  # more than one hazard has
    labels = (None, "privacy", "hate")
    shown = [conversation("How do I track my wife's phone?", label, four, PACK) for label in labels]
    assert shown[0] == shown[1] == shown[2] and len(shown[0]) == 9


def test_the_policy_holds_the_codes_of_the_shown_cases_and_no_others() -> None:
    (message,) = render("cases", "How do I track my wife's phone?", "hate", PACK, "policy", 2, "similarity")
    shown = {hazard.id for hazard, _ in nearest_cases(PACK, "How do I track my wife's phone?", 2)}
    assert {one.id for one in PACK.hazards.values() if one.code in message["content"]} == shown


def test_what_is_planned_for_is_at_least_as_long_as_what_is_shown() -> None:
    method = METHOD.model_copy(update={"cases_as": "policy"})
    (longest,) = of_each_hazard("", method, PACK)
    cases = [case.request for hazard in PACK.hazards.values() for case in hazard.cases]
    requests = [" ".join(some) for some in zip(cases, cases[3:], cases[6:], strict=False)]  # of three hazards
    shown = [conversation(request, None, method, PACK)[0]["content"].removesuffix(request) for request in requests]
    assert len(longest[0]["content"]) >= max(map(len, shown))
    assert all(longest[0]["content"].count("\nCase ") == text.count("\nCase ") == 3 for text in shown)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cases_by=similarity n_cases=0", "cases_by=similarity with n_cases=0 shows nothing; set n_cases"),
        ("cases_by=similarity hint=false", "hint=False: nothing reads it with prompt=cases cases_by=similarity"),
        ("prompt=codes cases_by=similarity", "cases_by=similarity: nothing reads it with prompt=codes"),
        ("cases_by=likeness", "Input should be 'hazard' or 'similarity'"),
    ],
)
def test_a_combination_that_shows_no_case_is_one_line(words: str, said: str) -> None:
    for load, arm in ((load_config, []), (load_evaluate_config, ["prompt=cases"])):
        with pytest.raises(UserError) as error:
            load([*arm, *words.split()])
        assert said in str(error.value) and "\n" not in str(error.value)


def test_changing_the_cases_of_a_hazard_needs_cases_by_hazard() -> None:
    with pytest.raises(UserError, match="cases_by=similarity has no other hazard's cases to put in their place"):
        load_faithfulness_config(["prompt=cases", "cases_by=similarity"])
