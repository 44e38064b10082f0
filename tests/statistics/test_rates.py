"""rates: Wilson's interval against arithmetic done by hand, and what was not scored."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import Rate, wilson


def test_wilson_of_five_in_ten_is_the_textbook_interval() -> None:
    # z^2 = 3.8415: centre 0.5, half = 1.96 * sqrt(0.025 + 0.009604) / 1.38415 = 0.26341
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_wilson_of_six_in_313_is_the_interval_quoted_for_the_paper() -> None:
    low, high = wilson(6, 313)
    assert (round(100 * low, 1), round(100 * high, 1)) == (0.9, 4.1)


def test_wilson_of_none_in_ten_starts_at_zero_and_ends_at_z2_over_n_plus_z2() -> None:
    assert wilson(0, 10) == (0.0, pytest.approx(3.841459 / 13.841459, abs=1e-6))
    assert wilson(10, 10) == (pytest.approx(10 / 13.841459, abs=1e-6), 1.0)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="11 of 10"):
        wilson(11, 10)


def test_an_unscored_item_lowers_the_coverage_and_not_the_rate() -> None:
    rate = Rate.of([True, True, False, None])
    assert (rate.successes, rate.n, rate.asked) == (2, 3, 4)
    assert rate.value == pytest.approx(2 / 3)
    assert rate.coverage == 0.75
    assert rate.interval == wilson(2, 3)


def test_a_rate_of_unscored_items_only_is_nan_and_never_zero() -> None:
    assert math.isnan(Rate.of([None, None]).value)
    assert Rate.of([None, None]).coverage == 0.0


def test_a_rate_with_more_scored_than_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="asked"):
        Rate(1, 3, 2)
