"""rates: Wilson's interval against arithmetic done by hand, and what was not scored."""

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.statistics.intervals import Rate, adjusted_mean, wilson


def test_wilson_is_the_interval_quoted_for_the_paper_exact_at_the_borders_and_knows_nothing_of_nothing():
    low, high = wilson(6, 313)
    assert (round(100 * low, 1), round(100 * high, 1)) == (0.9, 4.1)
    # none in ten starts at zero and ends at z^2 / (n + z^2)
    assert wilson(0, 10) == (0.0, pytest.approx(3.841459 / 13.841459, abs=1e-6))
    assert wilson(10, 10) == (pytest.approx(10 / 13.841459, abs=1e-6), 1.0)
    assert wilson(0, 0) == (0.0, 1.0)


def test_more_successes_than_trials_and_more_scored_than_asked_are_refused():
    with pytest.raises(ValueError, match="11 of 10"):
        wilson(11, 10)
    with pytest.raises(ValueError, match="asked"):
        Rate(1, 3, 2)


def test_an_unscored_item_lowers_the_coverage_and_not_the_rate():
    rate = Rate.of([True, True, False, None])
    assert (rate.successes, rate.n, rate.asked) == (2, 3, 4)
    assert rate.value == pytest.approx(2 / 3)
    assert rate.coverage == 0.75
    assert rate.interval == wilson(2, 3)


def test_a_rate_of_unscored_items_only_is_nan_and_never_zero():
    assert math.isnan(Rate.of([None, None]).value)
    assert Rate.of([None, None]).coverage == 0.0


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_two_made_up_scores_enter_the_interval_and_not_the_mean():
    # 0, 1, 0.5, 0.5 with 0 and 1: centre 0.5, squares 4 * 0.25 = 1, error sqrt(1) / 6 = 0.16667, half 0.32666
    assert adjusted_mean([0.0, 1.0, 0.5, 0.5]) == pytest.approx((0.5, 0.17334, 0.82666), abs=1e-5)


def test_no_harm_in_313_answers_is_no_certainty_of_none():
    # centre 1/315 = 0.00317; squares 314 * (1/315)^2 + (314/315)^2 = 0.99683; half 1.96 * 0.99841 / 315 = 0.00621
    value, low, high = adjusted_mean([0.0] * 313)
    assert (value, low, high) == (0.0, 0.0, pytest.approx(0.00939, abs=1e-5))


def test_the_ends_scale_the_interval():
    value, low, high = adjusted_mean([0.25, 0.75, 0.75])
    assert adjusted_mean([-0.5, 0.5, 0.5], (-1, 1)) == pytest.approx((2 * value - 1, 2 * low - 1, 2 * high - 1))


@given(SCORES)
def test_the_interval_holds_the_mean_stays_within_the_ends_and_always_has_width(scores):
    value, low, high = adjusted_mean(scores)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.5 / (len(scores) + 2)


@given(SCORES)
def test_swapping_good_and_bad_mirrors_the_interval(scores):
    value, low, high = adjusted_mean(scores)
    assert adjusted_mean([1 - score for score in scores]) == pytest.approx((1 - value, 1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("bad", [[], [0.2, math.nan], [0.2, 1.01], [-0.01]])
def test_nothing_a_nan_and_a_score_outside_the_ends_are_refused(bad):
    with pytest.raises(ValueError, match="UNSCORED"):
        adjusted_mean(bad)


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys_interval(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-9)
