"""seeds: mean, standard deviation and the hierarchical interval, against arithmetic done by hand."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.statistics.intervals import Z_95, adjusted_mean, centre_and_error
from cada_trl.statistics.seeds import UNBOUNDED, across_seeds, difference_across_seeds, pooled_spread, t_95

T_2 = 4.302653  # 97.5 % quantile of Student's t with 2 degrees of freedom


def constant_seeds(*rates, n_items):
    """Every item of a seed has the seed's own rate: no spread over items."""
    return [[rate] * n_items for rate in rates]


def test_mean_and_sd_over_three_seeds():
    result = across_seeds([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    # 0.5, 0.75, 1: mean 0.75, sd sqrt((0.0625 + 0 + 0.0625) / 2) = 0.25
    assert (result.per_seed, result.mean) == ([0.5, 0.75, 1.0], 0.75)
    assert result.sd == pytest.approx(0.25)


def test_one_seed_has_no_spread_and_no_interval():
    result = across_seeds([[1.0, 0.0]])
    assert (result.mean, result.sd, result.low, result.high) == (0.5, None, None, None)


def test_between_equal_items_the_interval_is_students_over_the_seeds():
    # means 0.4, 0.5, 0.6, and an error of the items that vanishes; half = 4.3027 * 0.1 / sqrt(3) = 0.2484
    result = across_seeds(constant_seeds(0.4, 0.5, 0.6, n_items=10_000))
    assert result.low == pytest.approx(0.5 - T_2 * 0.1 / math.sqrt(3), abs=1e-4)
    assert result.high == pytest.approx(0.5 + T_2 * 0.1 / math.sqrt(3), abs=1e-4)


def test_seeds_that_agree_on_every_item_leave_the_interval_of_the_items():
    items = [1.0] * 30 + [0.0] * 70
    result = across_seeds([items] * 3)
    assert (result.mean, result.low, result.high) == pytest.approx(adjusted_mean(items), abs=1e-9)


def test_three_seeds_without_any_success_are_no_certainty_of_none():
    result = across_seeds(constant_seeds(0.0, 0.0, 0.0, n_items=50))
    assert (result.low, result.sd) == (0.0, 0.0)
    assert result.high == pytest.approx(adjusted_mean([0.0] * 50).high, abs=1e-9)


def test_more_items_do_not_make_up_for_few_seeds():
    few, many = (across_seeds(constant_seeds(0.4, 0.6, n_items=n)) for n in (100, 10_000))
    assert few.low == many.low == 0.0  # t with one degree of freedom: 12.7 * 0.1


def test_twenty_seeds_have_nineteen_degrees_of_freedom():
    result = across_seeds(constant_seeds(*[0.4, 0.6] * 10, n_items=100_000))
    sd = math.sqrt(20 * 0.01 / 19)
    assert result.high == pytest.approx(0.5 + 2.0930 * sd / math.sqrt(20), abs=1e-4)


@pytest.mark.parametrize("bad", [[], [[]], [[0.1], [0.1, 0.2]], [[0.1, math.nan]], [[1.5, 1.0], [1.5, 1.0]]])
def test_seeds_must_hold_the_same_scored_items(bad):
    with pytest.raises(ValueError, match="expected"):
        across_seeds(bad)


def test_items_that_both_sides_share_cancel_in_the_difference():
    hard = [1.0] * 50 + [0.0] * 50
    result = difference_across_seeds([hard] * 3, [hard] * 3)
    assert result == pytest.approx(adjusted_mean([0.0] * 100, (-1.0, 1.0)), abs=1e-9)


def test_a_base_model_of_one_evaluation_brings_no_spread_of_its_own():
    base, trained = [[1.0] * 200], constant_seeds(0.49, 0.5, 0.51, n_items=200)
    difference, low, high = difference_across_seeds(base, trained, trained=(False, True))
    assert difference == pytest.approx(-0.5)
    # the trained side alone: sd 0.01 over 3 seeds, T_2 * 0.01 / sqrt(3) = 0.0248, and the items' error
    centre, error = centre_and_error([-0.5] * 200, (-1.0, 1.0))
    half = math.hypot(T_2 * 0.01 / math.sqrt(3), Z_95 * error)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_one_trained_seed_borrows_the_spread_of_the_other_side():
    # sd 0.01 over 3 seeds: 4.3027 * 0.01 * sqrt(1 + 1/3) = 0.04968
    several, one = constant_seeds(0.49, 0.5, 0.51, n_items=10_000), constant_seeds(0.7, n_items=10_000)
    for before, after, difference in ((several, one, 0.2), (one, several, -0.2)):
        expected = (difference, difference - 0.04968, difference + 0.04968)
        assert difference_across_seeds(before, after) == pytest.approx(expected, abs=2e-4)


def test_a_pool_stands_in_for_the_spread_of_two_seeds():
    # five configurations of two seeds 0.02 apart: each s_i^2 = 0.0002, df 5, t 2.5706; 2.5706 * 0.01414 = 0.03635, and
    # two sides of two seeds: 0.03635 * sqrt(1/2 + 1/2)
    pool = pooled_spread([[0.5, 0.52]] * 5)
    sides = (constant_seeds(*rates, n_items=10_000) for rates in ((0.49, 0.51), (0.29, 0.31)))
    assert difference_across_seeds(*sides, pool) == pytest.approx((-0.2, -0.2 - 0.03635, -0.2 + 0.03635), abs=2e-4)


def test_one_seed_borrows_the_pools_spread_and_an_untrained_model_has_none():
    pool = pooled_spread([[0.5, 0.52]] * 5)
    one, base = constant_seeds(0.3, n_items=10_000), constant_seeds(0.5, n_items=10_000)
    (_, both, _), (_, alone, _) = (
        difference_across_seeds(base, one, pool, trained) for trained in ((True, True), (False, True))
    )
    assert both == pytest.approx(-0.2 - 0.03635 * math.sqrt(2), abs=2e-4)
    assert alone == pytest.approx(-0.2 - 0.03635, abs=2e-4)


def test_a_pool_of_few_degrees_of_freedom_gives_a_difference_and_no_interval():
    sides = (constant_seeds(*rates, n_items=100) for rates in ((0.4, 0.6), (0.3, 0.5)))
    result = difference_across_seeds(*sides, pooled_spread([[0.4, 0.6], [0.3, 0.5]]))
    assert result == (pytest.approx(-0.1), None, None)


def test_one_seed_on_both_sides_has_the_interval_of_the_items_changes():
    found = difference_across_seeds([[1.0, 0.5, 0.0, 0.0]], [[0.0, 0.5, 1.0, 0.0]])
    assert found == adjusted_mean([-1.0, 0.0, 1.0, 0.0], (-1.0, 1.0))


def test_both_sides_need_the_same_items():
    with pytest.raises(ValueError, match="2 items before and 1 after"):
        difference_across_seeds([[1.0, 0.0]] * 2, [[1.0]] * 2)


# s_i^2: 0.02, 0.0002, 0.01 with 1, 1 and 2 degrees of freedom: (0.02 + 0.0002 + 2 * 0.01) / 4 = 0.01005
THREE = [[0.4, 0.6], [0.1, 0.12], [0.7, 0.8, 0.9]]
SD = math.sqrt(0.01005)


def test_variances_are_weighted_by_their_degrees_of_freedom_and_one_seed_adds_nothing():
    pool = pooled_spread(THREE)
    assert (pool.n_configurations, pool.n_seeds, pool.df, pool.sd) == (3, 7, 4, pytest.approx(SD))
    assert pooled_spread([*THREE, [0.0]]) == pool


HALF = 2.7764 * SD / math.sqrt(2)  # 0.1968, by Student's t of the pool


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ((0.5, 2), 0.5 - HALF, 0.5 + HALF),
        ((0.5, 1), 0.5 - 2.7764 * SD, 0.5 + 2.7764 * SD),  # one seed borrows the spread of the others
        ((0.05, 2), 0.0, 0.05 + HALF),  # cut to what the measure can be
        ((0.05, 2, (-1.0, 1.0)), 0.05 - HALF, 0.05 + HALF),
        ((5.0, 2, UNBOUNDED), 5.0 - HALF, 5.0 + HALF),
        # the items' error is added in squares
        ((0.5, 2, (0.0, 1.0), 0.05), 0.5 - math.hypot(HALF, Z_95 * 0.05), 0.5 + math.hypot(HALF, Z_95 * 0.05)),
    ],
)
def test_the_interval_of_a_pool(given, low, high):
    assert pooled_spread(THREE).interval(*given) == pytest.approx((low, high))


def test_below_four_degrees_of_freedom_there_is_no_interval():
    pool = pooled_spread([[0.4, 0.6], [0.7, 0.8, 0.9]])
    assert (pool.df, pool.informative, pool.interval(0.5, 2)) == (3, False, None)
    with pytest.raises(ValueError, match="at least 4 degrees"):
        pool.margin(2)


def test_without_a_second_seed_anywhere_no_spread_is_known():
    pool = pooled_spread([[0.4], [0.6]])
    assert (pool.n_configurations, pool.df, pool.sd, pool.interval(0.4, 1)) == (0, 0, None, None)


def test_seeds_that_are_all_alike_are_no_certainty():
    for rate in (1.0, 0.1, 0.7):  # three times 0.1 are not 0.3
        pool = pooled_spread([[rate] * 3] * 5)
        assert (pool.sd, pool.interval(rate, 3)) == (0.0, None)
    pool = pooled_spread([[1.0, 1.0]] * 5)
    assert pool.interval(0.99, 2, item_error=0.01) == (pytest.approx(0.99 - 0.0196, abs=1e-4), 1.0)


def test_a_seed_without_a_number_does_not_enter_the_pool():
    with pytest.raises(ValueError, match="finite"):
        pooled_spread([[0.4, math.nan]])


def test_beyond_thirty_degrees_of_freedom_the_thirtieth_is_taken_and_none_is_no_quantile():
    assert t_95(31) == t_95(30)
    with pytest.raises(ValueError, match="at least one degree"):
        t_95(0)


def test_the_seeds_of_each_side_bring_their_own_spread_to_a_difference():
    # sd 0.01 over 3 seeds: 4.3027 * 0.01 / sqrt(3) = 0.02484; sd 0.03 over 2: 12.7062 * 0.03 / sqrt(2) = 0.26954
    calm, wild = (0.49, 0.5, 0.51), (0.3 - 0.03 / math.sqrt(2), 0.3 + 0.03 / math.sqrt(2))
    sides = [constant_seeds(*rates, n_items=10_000) for rates in (calm, wild)]
    half = math.hypot(0.02484, 0.26954)
    for before, after, difference in ((*sides, -0.2), (*reversed(sides), 0.2)):
        expected = (difference, difference - half, difference + half)
        assert difference_across_seeds(before, after) == pytest.approx(expected, abs=2e-4)
    pool = pooled_spread([[0.5, 0.52]] * 5)  # 0.03635 for two seeds' margin times sqrt(2)
    _, low, _ = difference_across_seeds(*sides, pool)
    assert low == pytest.approx(-0.2 - 0.03635 * math.sqrt(1 / 3 + 1 / 2), abs=2e-4)


@pytest.mark.parametrize("df", range(1, 31))
def test_the_quantiles_are_scipys_students_t(df):
    assert t_95(df) == pytest.approx(scipy.stats.t.ppf(0.975, df), abs=5e-5)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_pool_is_that_of_an_analysis_of_variance(configurations):
    pool = pooled_spread(configurations)
    several = [np.asarray(seeds) for seeds in configurations if len(seeds) > 1]
    squares = sum(float(np.var(seeds, ddof=1)) * (len(seeds) - 1) for seeds in several)
    assert pool.df == sum(len(seeds) - 1 for seeds in several)
    assert (pool.sd or 0.0) == pytest.approx(math.sqrt(squares / pool.df) if pool.df else 0.0, abs=1e-9)
