"""pooled: the seeds' variance over configurations, against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import UNBOUNDED, pooled_spread, t_95
from cada_trl.statistics.bounded import Z_95

# s_i^2: 0.02, 0.0002, 0.01 with 1, 1 and 2 degrees of freedom: (0.02 + 0.0002 + 2 * 0.01) / 4 = 0.01005
THREE = [[0.4, 0.6], [0.1, 0.12], [0.7, 0.8, 0.9]]
SD = math.sqrt(0.01005)


def test_variances_are_weighted_by_their_degrees_of_freedom() -> None:
    pool = pooled_spread(THREE)
    assert (pool.n_configurations, pool.n_seeds, pool.df, pool.sd) == (3, 7, 4, pytest.approx(SD))


def test_one_seed_adds_nothing_to_the_pool() -> None:
    assert pooled_spread([*THREE, [0.0]]) == pooled_spread(THREE)


def test_an_interval_is_student_of_the_pool() -> None:
    # 2.7764 * 0.10025 / sqrt(2) = 0.1968
    low, high = pooled_spread(THREE).interval(0.5, 2) or (0, 0)
    assert (low, high) == pytest.approx((0.5 - 0.1968, 0.5 + 0.1968), abs=1e-4)


def test_one_seed_borrows_the_spread_of_the_others() -> None:
    low, _ = pooled_spread(THREE).interval(0.5, 1) or (0, 0)
    assert low == pytest.approx(0.5 - 2.7764 * SD)


def test_an_interval_is_cut_to_what_the_measure_can_be() -> None:
    pool = pooled_spread(THREE)
    assert pool.interval(0.05, 2) == (0.0, pytest.approx(0.2468, abs=1e-4))
    assert (pool.interval(0.05, 2, (-1.0, 1.0)) or (0, 0))[0] == pytest.approx(-0.1468, abs=1e-4)
    assert (pool.interval(5.0, 2, UNBOUNDED) or (0, 0))[1] == pytest.approx(5.1968, abs=1e-4)


def test_the_items_error_is_added_in_squares() -> None:
    pool = pooled_spread(THREE)
    low, _ = pool.interval(0.5, 2, item_error=0.05) or (0, 0)
    assert low == pytest.approx(0.5 - math.hypot(t_95(4) * SD / math.sqrt(2), Z_95 * 0.05))


def test_below_four_degrees_of_freedom_there_is_no_interval() -> None:
    pool = pooled_spread([[0.4, 0.6], [0.7, 0.8, 0.9]])
    assert (pool.df, pool.informative, pool.interval(0.5, 2)) == (3, False, None)
    with pytest.raises(ValueError, match="at least 4 degrees"):
        pool.margin(2)


def test_without_a_second_seed_anywhere_no_spread_is_known() -> None:
    pool = pooled_spread([[0.4], [0.6]])
    assert (pool.n_configurations, pool.df, pool.sd, pool.interval(0.4, 1)) == (0, 0, None, None)


def test_seeds_that_are_all_alike_are_no_certainty() -> None:
    pool = pooled_spread([[1.0, 1.0]] * 5)
    assert (pool.sd, pool.interval(1.0, 2)) == (0.0, None)
    assert pool.interval(0.99, 2, item_error=0.01) == (pytest.approx(0.99 - 0.0196, abs=1e-4), 1.0)


def test_a_seed_without_a_number_does_not_enter_the_pool() -> None:
    with pytest.raises(ValueError, match="finite"):
        pooled_spread([[0.4, math.nan]])
