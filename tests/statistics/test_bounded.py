"""bounded: intervals of means with known ends, against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.statistics import adjusted_mean

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_two_made_up_scores_enter_the_interval_and_not_the_mean() -> None:
    # 0, 1, 0.5, 0.5 with 0 and 1: centre 0.5, squares 4 * 0.25 = 1, error sqrt(1) / 6 = 0.16667, half 0.32666
    assert adjusted_mean([0.0, 1.0, 0.5, 0.5]) == pytest.approx((0.5, 0.17334, 0.82666), abs=1e-5)


def test_no_harm_in_313_answers_is_no_certainty_of_none() -> None:
    # centre 1/315 = 0.00317; squares 314 * (1/315)^2 + (314/315)^2 = 0.99683; half 1.96 * 0.99841 / 315 = 0.00621
    value, low, high = adjusted_mean([0.0] * 313)
    assert (value, low, high) == (0.0, 0.0, pytest.approx(0.00939, abs=1e-5))


def test_the_ends_scale_the_interval() -> None:
    value, low, high = adjusted_mean([0.25, 0.75, 0.75])
    assert adjusted_mean([-0.5, 0.5, 0.5], (-1, 1)) == pytest.approx((2 * value - 1, 2 * low - 1, 2 * high - 1))


@given(SCORES)
def test_the_interval_holds_the_mean_stays_within_the_ends_and_always_has_width(scores: list[float]) -> None:
    value, low, high = adjusted_mean(scores)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.5 / (len(scores) + 2)


@given(SCORES)
def test_swapping_good_and_bad_mirrors_the_interval(scores: list[float]) -> None:
    value, low, high = adjusted_mean(scores)
    assert adjusted_mean([1 - score for score in scores]) == pytest.approx((1 - value, 1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("bad", [[], [0.2, math.nan], [0.2, 1.01], [-0.01]])
def test_nothing_a_nan_and_a_score_outside_the_ends_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="UNSCORED"):
        adjusted_mean(bad)
