"""statistics: intervals and agreement against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import Rate, bootstrap_mean, cohen_kappa, paired_bootstrap, wilson


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


def test_kappa_of_the_textbook_table() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, chance 0.5*0.6 + 0.5*0.4 = 0.5, kappa 0.4
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_kappa_is_one_for_equal_raters_and_minus_one_for_opposite_ones() -> None:
    assert cohen_kappa([0, 1, 0, 1], [0, 1, 0, 1]) == 1.0
    assert cohen_kappa([0, 1, 0, 1], [1, 0, 1, 0]) == -1.0


def test_kappa_of_raters_who_only_ever_say_one_word_is_undefined() -> None:
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))


def test_the_bootstrap_interval_of_a_constant_has_no_width() -> None:
    assert bootstrap_mean([0.25] * 7) == (0.25, 0.25, 0.25)


def test_the_bootstrap_interval_of_a_mean_agrees_with_the_normal_one() -> None:
    # 200 zeros and 200 ones: the standard error is 0.5 / 20 = 0.025
    mean, low, high = bootstrap_mean([0.0, 1.0] * 200)
    assert mean == 0.5
    assert (low, high) == (pytest.approx(0.451, abs=0.004), pytest.approx(0.549, abs=0.004))


def test_the_bootstrap_repeats_itself_with_its_seed() -> None:
    values = [0.37 * i % 1 for i in range(50)]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_the_bootstrap_refuses_a_nan() -> None:
    with pytest.raises(ValueError, match="UNSCORED"):
        bootstrap_mean([1.0, math.nan])


def test_a_shift_shared_by_all_pairs_has_an_interval_without_width() -> None:
    before = [0.0, 5.0, -3.0, 10.0]
    assert paired_bootstrap(before, [value + 2 for value in before]) == (2.0, 2.0, 2.0)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="2 values before and 1 after"):
        paired_bootstrap([1.0, 2.0], [1.0])
