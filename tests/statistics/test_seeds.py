"""seeds: mean, standard deviation and the hierarchical interval, against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import across_seeds, adjusted_difference, adjusted_mean, difference_across_seeds, pooled_spread

T_2 = 4.302653  # 97.5 % quantile of Student's t with 2 degrees of freedom


def constant_seeds(*rates: float, n_items: int) -> list[list[float]]:
    """Every item of a seed has the seed's own rate: no spread over items."""
    return [[rate] * n_items for rate in rates]


def test_mean_and_sd_over_three_seeds() -> None:
    result = across_seeds([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    # 0.5, 0.75, 1: mean 0.75, sd sqrt((0.0625 + 0 + 0.0625) / 2) = 0.25
    assert (result.per_seed, result.n_items, result.mean) == ([0.5, 0.75, 1.0], 4, 0.75)
    assert result.sd == pytest.approx(0.25)


def test_one_seed_has_no_spread_and_no_interval() -> None:
    result = across_seeds([[1.0, 0.0]])
    assert (result.mean, result.sd, result.low, result.high) == (0.5, None, None, None)


def test_between_equal_items_the_interval_is_students_over_the_seeds() -> None:
    # means 0.4, 0.5, 0.6, and an error of the items that vanishes; half = 4.3027 * 0.1 / sqrt(3) = 0.2484
    result = across_seeds(constant_seeds(0.4, 0.5, 0.6, n_items=10_000))
    assert result.low == pytest.approx(0.5 - T_2 * 0.1 / math.sqrt(3), abs=1e-4)
    assert result.high == pytest.approx(0.5 + T_2 * 0.1 / math.sqrt(3), abs=1e-4)


def test_seeds_that_agree_on_every_item_leave_the_interval_of_the_items() -> None:
    items = [1.0] * 30 + [0.0] * 70
    result = across_seeds([items] * 3)
    assert (result.mean, result.low, result.high) == pytest.approx(adjusted_mean(items), abs=1e-9)


def test_three_seeds_without_any_success_are_no_certainty_of_none() -> None:
    result = across_seeds(constant_seeds(0.0, 0.0, 0.0, n_items=50))
    assert (result.low, result.sd) == (0.0, 0.0)
    assert result.high == pytest.approx(adjusted_mean([0.0] * 50).high, abs=1e-9)


def test_more_items_do_not_make_up_for_few_seeds() -> None:
    few, many = (across_seeds(constant_seeds(0.4, 0.6, n_items=n)) for n in (100, 10_000))
    assert few.low == many.low == 0.0  # t with one degree of freedom: 12.7 * 0.1


def test_twenty_seeds_have_nineteen_degrees_of_freedom() -> None:
    result = across_seeds(constant_seeds(*[0.4, 0.6] * 10, n_items=100_000))
    sd = math.sqrt(20 * 0.01 / 19)
    assert result.high == pytest.approx(0.5 + 2.0930 * sd / math.sqrt(20), abs=1e-4)


@pytest.mark.parametrize("bad", [[], [[]], [[0.1], [0.1, 0.2]], [[0.1, math.nan]], [[1.5, 1.0], [1.5, 1.0]]])
def test_seeds_must_hold_the_same_scored_items(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        across_seeds(bad)


def test_a_difference_of_two_sides_adds_both_spreads_in_squares() -> None:
    # both sides sd 0.01 over 3 seeds: margins of 4.3027 * 0.00577 = 0.02484 each, together 0.02484 * sqrt(2)
    before, after = (constant_seeds(*rates, n_items=10_000) for rates in ((0.49, 0.5, 0.51), (0.29, 0.3, 0.31)))
    result = difference_across_seeds(before, after)
    assert result.difference == pytest.approx(-0.2)
    assert (result.low, result.high) == pytest.approx((-0.2 - 0.03513, -0.2 + 0.03513), abs=2e-4)


def test_items_that_both_sides_share_cancel_in_the_difference() -> None:
    hard = [1.0] * 50 + [0.0] * 50
    result = difference_across_seeds([hard] * 3, [hard] * 3)
    assert (result.difference, result.low, result.high) == pytest.approx(adjusted_difference([0.0] * 100), abs=1e-9)


def test_a_base_model_of_one_evaluation_brings_no_spread_of_its_own() -> None:
    base, trained = [[1.0] * 200], constant_seeds(0.49, 0.5, 0.51, n_items=200)
    result = difference_across_seeds(base, trained)
    assert (result.before.sd, result.after.sd) == (None, pytest.approx(0.01))
    assert result.difference == pytest.approx(-0.5)
    assert result.low is not None and result.high is not None
    assert result.low < -0.5 < result.high


def test_a_pool_stands_in_for_the_spread_of_two_seeds() -> None:
    # five configurations of two seeds 0.02 apart: each s_i^2 = 0.0002, df 5, t 2.5706; 2.5706 * 0.01414 = 0.03635, and
    # two sides of two seeds: 0.03635 * sqrt(1/2 + 1/2)
    pool = pooled_spread([[0.5, 0.52]] * 5)
    sides = (constant_seeds(*rates, n_items=10_000) for rates in ((0.49, 0.51), (0.29, 0.31)))
    result = difference_across_seeds(*sides, pool)
    assert (result.low, result.high) == pytest.approx((-0.2 - 0.03635, -0.2 + 0.03635), abs=2e-4)


def test_one_seed_borrows_the_pools_spread_and_an_untrained_model_has_none() -> None:
    pool = pooled_spread([[0.5, 0.52]] * 5)
    one, base = constant_seeds(0.3, n_items=10_000), constant_seeds(0.5, n_items=10_000)
    both, alone = (difference_across_seeds(base, one, pool, trained) for trained in ((True, True), (False, True)))
    assert both.low == pytest.approx(-0.2 - 0.03635 * math.sqrt(2), abs=2e-4)
    assert alone.low == pytest.approx(-0.2 - 0.03635, abs=2e-4)


def test_a_pool_of_few_degrees_of_freedom_gives_a_difference_and_no_interval() -> None:
    sides = (constant_seeds(*rates, n_items=100) for rates in ((0.4, 0.6), (0.3, 0.5)))
    result = difference_across_seeds(*sides, pooled_spread([[0.4, 0.6], [0.3, 0.5]]))
    assert (result.difference, result.low, result.high) == (pytest.approx(-0.1), None, None)


def test_one_seed_on_both_sides_is_sent_to_the_paired_interval() -> None:
    with pytest.raises(ValueError, match="adjusted_difference"):
        difference_across_seeds([[1.0]], [[0.0]])


def test_both_sides_need_the_same_items() -> None:
    with pytest.raises(ValueError, match="2 items before and 1 after"):
        difference_across_seeds([[1.0, 0.0]] * 2, [[1.0]] * 2)
