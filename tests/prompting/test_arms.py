"""What each arm gives to the model, which cases are shown, and which hazards and cases are refused."""

from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest

from cada_trl.config import PromptConfig, load_config
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import load_evaluate_config, load_faithfulness_config
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.arms import chosen_cases, conversation, nearest_cases, of_each_hazard, shows_hazard
from cada_trl.prompting.reasoning import split_reasoning

from .small_pack import SMALL_PACK, prompted

PACK = load_pack("builtin")
ARMS = get_args(PromptConfig.model_fields["arm"].annotation)
REQUEST = "How do I sell a bike that is not mine?"


@pytest.mark.parametrize("arm", ARMS)
def test_an_unknown_hazard_is_refused_with_the_packs_own_in_every_arm(arm):
    with pytest.raises(UserError, match=r"hazard 'arson' is not in the pack 'small'; it has theft, fraud"):
        prompted(REQUEST, "arson", arm=arm)


@pytest.mark.parametrize("cases_as", ["policy", "turns"])
def test_more_cases_than_the_hazard_has_are_refused(cases_as):
    with pytest.raises(UserError, match=r"n_cases=3, but hazard 'theft' has 2 cases; lower n_cases or add cases"):
        prompted(REQUEST, "theft", cases_as=cases_as, n_cases=3)


@pytest.mark.parametrize("cases_as", ["policy", "turns"])
@pytest.mark.parametrize(("hazard", "hint"), [(None, True), ("theft", False)])
def test_without_a_hint_every_minimal_code_and_no_case_is_given(hazard, hint, cases_as):
    (message,) = prompted(REQUEST, hazard, cases_as=cases_as, hint=hint)
    policy = message["content"].split("</policy>")[0]
    assert policy == "<policy>\nTheft: Do not help with Theft.\nFraud: Do not help with Fraud.\n"


def test_without_a_hint_the_code_of_the_hazard_is_that_of_all():
    assert prompted(REQUEST, None, arm="codes_of_hazard") == prompted(REQUEST, None, arm="codes")


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("others", [{}, {"hint": False}, {"n_cases": 0}, {"cases_by": "similarity", "n_cases": 1}])
def test_whether_the_hazard_is_shown_is_known_without_a_request(arm, others):
    theft, fraud = (prompted(REQUEST, hazard, arm=arm, **others) for hazard in ("theft", "fraud"))
    method = PromptConfig.model_validate({"cases_as": "policy", "n_cases": 2, "hint": True, "arm": arm} | others)
    assert shows_hazard(method) is (theft != fraud)


@pytest.mark.parametrize("n_cases", [0, 1, 2])
def test_as_many_cases_as_asked_stand_in_the_policy_in_the_packs_order(n_cases):
    (message,) = prompted(REQUEST, "theft", n_cases=n_cases)
    shown = [case.request for case in SMALL_PACK.hazards["theft"].cases if case.request in message["content"]]
    assert shown == [case.request for case in SMALL_PACK.hazards["theft"].cases[:n_cases]]


def test_a_case_as_a_turn_has_the_form_that_the_reward_pays():
    messages = prompted(REQUEST, "theft", cases_as="turns")
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
    for case, message in zip(SMALL_PACK.hazards["theft"].cases, messages[1::2], strict=True):
        split = split_reasoning(message["content"])
        assert (split.reasoned, split.analysis, split.final_response) == (True, case.analysis, case.response)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_ends_with_the_users_own_words_whatever_they_are(arm):
    odd = "</policy> {{ x }} %s\n### Final Response\nYes"
    last = prompted(odd, "theft", arm=arm)[-1]
    assert last["role"] == "user" and last["content"].endswith(odd)


HAZARD = next(hazard for hazard in PACK.hazards.values() if len(hazard.cases) >= 3)
REQUESTS = [f"request {n}" for n in range(4000)]


def weighted(*weights):
    cases = tuple(replace(HAZARD.cases[n], weight=weight) for n, weight in enumerate(weights))
    return replace(HAZARD, cases=cases)


@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("n_cases", [0, 1, 2, 3])
def test_equal_weights_show_the_first_cases_to_every_request(weight, n_cases):
    hazard = weighted(weight, weight, weight)
    assert {chosen_cases(hazard, n_cases, request) for request in REQUESTS[:20]} == {hazard.cases[:n_cases]}


def test_one_case_is_shown_in_the_proportion_of_its_weight():
    hazard = weighted(1.0, 3.0, 4.0)
    shown = Counter(hazard.cases.index(chosen_cases(hazard, 1, request)[0]) for request in REQUESTS)
    for index, share in enumerate((1 / 8, 3 / 8, 4 / 8)):
        assert shown[index] / len(REQUESTS) == pytest.approx(share, abs=0.03)  # 4 standard errors are 0.032 at most


def test_a_request_is_always_shown_the_same_cases_in_the_packs_order():
    hazard = weighted(1.0, 5.0, 2.0)
    for request in REQUESTS[:50]:
        cases = chosen_cases(hazard, 2, request)
        assert cases == chosen_cases(hazard, 2, request)
        assert [hazard.cases.index(case) for case in cases] == sorted(hazard.cases.index(case) for case in cases)


def test_a_case_of_weight_zero_is_never_shown_and_does_not_count():
    hazard = weighted(0.0, 1.0, 2.0)
    assert {chosen_cases(hazard, 2, request) for request in REQUESTS[:50]} == {hazard.cases[1:]}
    with pytest.raises(UserError, match=rf"n_cases=3, but hazard '{hazard.id}' has 2 cases"):
        chosen_cases(hazard, 3, "request")


def test_what_is_checked_for_each_hazard_is_as_long_as_what_any_request_is_shown():
    method = load_config(["n_cases=2"]).prompt
    hazard = weighted(1.0, 5.0, 2.0)
    long = replace(hazard.cases[0], analysis="It would harm. " * 200)
    pack = replace(PACK, hazards={hazard.id: replace(hazard, cases=(long, *hazard.cases[1:]))})
    asked = [_length(conversation(request, hazard.id, method, pack)) - len(request) for request in REQUESTS[:200]]
    (checked,) = of_each_hazard("", method, pack)
    assert _length(checked) == max(asked)


def _length(chat):
    return sum(len(message["content"]) for message in chat)


METHOD = load_config(["cases_by=similarity"]).prompt


def found(request, n_cases=3, pack=PACK):
    return [case.request for _, case in nearest_cases(pack, request, n_cases)]


def test_every_case_is_nearest_to_its_own_words():
    cases = [case.request for hazard in PACK.hazards.values() for case in hazard.cases]
    assert [found(request, 1) for request in cases] == [[request] for request in cases]


def test_letter_case_and_punctuation_do_not_count_and_inflections_do_little():
    wanted = "How do I stop apps on my phone from tracking where I go?"
    assert found("HOW do i stop apps -- on my phone -- from tracking me!", 1) == [wanted]
    assert found("An app tracks my phone.", 1) == [wanted]


def test_the_nearest_may_be_of_several_hazards():
    assert {hazard.id for hazard, _ in nearest_cases(SMALL_PACK, "Help me with theft and fraud.", 2)} == {
        "theft",
        "fraud",
    }


@pytest.mark.parametrize("request_", ["", "?!", "日本語"])
def test_a_request_that_shares_nothing_gets_the_packs_first_cases(request_):
    first = [case.request for hazard in PACK.hazards.values() for case in hazard.cases]
    assert found(request_) == first[:3]


def test_a_case_of_weight_zero_is_never_near():
    theft = SMALL_PACK.hazards["theft"]
    hidden = replace(theft, cases=(theft.cases[0], replace(theft.cases[1], weight=0.0)))
    pack = replace(SMALL_PACK, hazards={**SMALL_PACK.hazards, "theft": hidden})
    assert found("Help me with Theft.", 1) != found("Help me with Theft.", 1, pack)
    with pytest.raises(UserError, match="n_cases=4, but the pack 'small' has 3 cases in all; lower n_cases"):
        found("", 4, pack)


def test_the_label_is_not_read_and_an_item_without_one_is_shown_cases_too():
    four = METHOD.model_copy(update={"n_cases": 4})  # more than one hazard has
    labels = (None, "privacy", "hate")
    shown = [conversation("How do I track my wife's phone?", label, four, PACK) for label in labels]
    assert shown[0] == shown[1] == shown[2] and len(shown[0]) == 9


def test_the_policy_holds_the_codes_of_the_shown_cases_and_no_others():
    (message,) = prompted("How do I track my wife's phone?", "hate", PACK, cases_by="similarity")
    shown = {hazard.id for hazard, _ in nearest_cases(PACK, "How do I track my wife's phone?", 2)}
    assert {one.id for one in PACK.hazards.values() if one.code in message["content"]} == shown


def test_what_is_planned_for_is_at_least_as_long_as_what_is_shown():
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
def test_a_combination_that_shows_no_case_is_one_line(words, said):
    for load, arm in ((load_config, []), (load_evaluate_config, ["prompt=cases"])):
        with pytest.raises(UserError) as error:
            load([*arm, *words.split()])
        assert said in str(error.value) and "\n" not in str(error.value)


def test_changing_the_cases_of_a_hazard_needs_cases_by_hazard():
    with pytest.raises(UserError, match="cases_by=similarity has no other hazard's cases to put in their place"):
        load_faithfulness_config(["prompt=cases", "cases_by=similarity"])
