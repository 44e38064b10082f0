"""A pack's weights decide how often its cases are shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from cada_trl.errors import UserError
from cada_trl.hazards.pack import Hazard, load_pack
from cada_trl.prompting.case_mix import chosen_cases

HAZARD = next(hazard for hazard in load_pack("builtin").hazards.values() if len(hazard.cases) >= 3)
REQUESTS = [f"request {n}" for n in range(4000)]


def weighted(*weights: float) -> Hazard:
    cases = tuple(replace(HAZARD.cases[n], weight=weight) for n, weight in enumerate(weights))
    return replace(HAZARD, cases=cases)


@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("n_cases", [0, 1, 2, 3])
def test_equal_weights_show_the_first_cases_to_every_request(weight: float, n_cases: int) -> None:
    hazard = weighted(weight, weight, weight)
    assert {chosen_cases(hazard, n_cases, request) for request in REQUESTS[:20]} == {hazard.cases[:n_cases]}


def test_one_case_is_shown_in_the_proportion_of_its_weight() -> None:
    hazard = weighted(1.0, 3.0, 4.0)
    shown = Counter(hazard.cases.index(chosen_cases(hazard, 1, request)[0]) for request in REQUESTS)
    for index, share in enumerate((1 / 8, 3 / 8, 4 / 8)):
        assert shown[index] / len(REQUESTS) == pytest.approx(share, abs=0.03)  # 4 standard errors are 0.032 at most


def test_a_request_is_always_shown_the_same_cases_in_the_packs_order() -> None:
    hazard = weighted(1.0, 5.0, 2.0)
    for request in REQUESTS[:50]:
        cases = chosen_cases(hazard, 2, request)
        assert cases == chosen_cases(hazard, 2, request)
        assert [hazard.cases.index(case) for case in cases] == sorted(hazard.cases.index(case) for case in cases)


def test_a_case_of_weight_zero_is_never_shown_and_does_not_count() -> None:
    hazard = weighted(0.0, 1.0, 2.0)
    assert {chosen_cases(hazard, 2, request) for request in REQUESTS[:50]} == {hazard.cases[1:]}
    with pytest.raises(UserError, match=rf"n_cases=3, but hazard '{hazard.id}' has 2 cases"):
        chosen_cases(hazard, 3, "request")
