"""What is counted as a flip, which twins are asked, and what stands in the prompt: one case, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cada_trl.config import PromptConfig, load_config
from cada_trl.evaluation.case_flips import CaseFlips, asked_twins, best_first, case_flips, shown_alone
from cada_trl.hazards.pack import load_pack
from cada_trl.records import Request

PACK = load_pack("builtin")
HAZARD = PACK.hazards["privacy"]
TWINS = [
    Request(f"{pair}-{side}", f"{side} {pair}", "privacy", side == "harmful", "twins", pair)
    for pair in ("a", "b", "c", "d")
    for side in ("harmful", "harmless")
]
METHOD = load_config(["cases_as=turns"]).prompt


def flips(before: list[bool | None], after: list[bool | None], place: int = 1) -> CaseFlips:
    return case_flips(HAZARD, place, TWINS, before, after, min_coverage=0.5)


def test_a_flip_is_counted_by_kind_and_by_direction() -> None:
    # harmful and harmless rows take turns: three harmful ones become refused, one harmless one is refused too
    before: list[bool | None] = [False, True, False, True, False, False, True, True]
    after: list[bool | None] = [True, False, True, True, True, False, True, True]
    found = flips(before, after)
    assert (found.harmful.right.successes, found.harmful.wrong.successes, found.harmful.right.n) == (3, 0, 4)
    assert (found.harmless.right.successes, found.harmless.wrong.successes, found.harmless.right.n) == (0, 1, 4)
    assert found.net.difference == pytest.approx(2 / 8)
    assert found.net.low is not None and found.net.high is not None and found.net.low < 2 / 8 < found.net.high


def test_partners_are_one_item_so_that_refusing_both_is_no_evidence() -> None:
    found = flips([False, True] * 4, [True, False] * 4)
    assert (found.net.difference, found.net.n_pairs, found.net.n_items) == (0.0, 8, 4)


def test_a_verdict_that_is_missing_on_one_side_is_in_no_count() -> None:
    found = flips([False, True, None, True, False, True, False, True], [True, True, True, None, True, True, True, True])
    assert (found.net.n_pairs, found.harmful.right.n, found.harmful.right.asked) == (6, 3, 4)
    assert flips([None] * 8, [True] * 8).net.withheld


def test_the_best_is_first_and_of_equal_ones_the_first_in_the_file() -> None:
    worse, better = [True, False] * 4, [True, True] * 4
    ranked = [flips(worse, worse, 1), flips(worse, better, 2), flips(worse, worse, 3)]
    assert [case.place for case in best_first(ranked)] == [2, 1, 3]


def test_partners_are_asked_and_more_begin_with_those_of_fewer() -> None:
    two = asked_twins(TWINS, "privacy", 2)
    assert [twin.harmful for twin in two] == [True, True, False, False]
    assert [twin.pair for twin in two[:2]] == [twin.pair for twin in two[2:]]
    assert set(two) <= set(asked_twins(TWINS, "privacy", 3))
    assert asked_twins(TWINS, "hate", 2) == []


@pytest.mark.parametrize("place", [1, 2, 3])
def test_exactly_that_case_is_shown_whatever_its_weight(place: int) -> None:
    case = replace(HAZARD.cases[place - 1], weight=0.0)
    messages = shown_alone(TWINS[0], case, HAZARD, METHOD, PACK)
    assert [message["content"] for message in messages[::2]] == [case.request, TWINS[0].text]


@pytest.mark.parametrize(("cases_as", "shown"), [("turns", "raw request"), ("policy", "code alone")])
def test_without_a_case_the_request_is_raw_or_under_its_code(cases_as: str, shown: str) -> None:
    method = PromptConfig.model_validate(METHOD.model_dump() | {"cases_as": cases_as})
    (message,) = shown_alone(TWINS[0], None, HAZARD, method, PACK)
    assert (message["content"] == TWINS[0].text) is (shown == "raw request")
    assert (HAZARD.code in message["content"]) is (shown == "code alone")
    assert not any(case.request in message["content"] for case in HAZARD.cases)
