from __future__ import annotations

import math

import pytest

from cada_trl.report.shares import Read, configuration_shares, model_share, read
from cada_trl.report.sweep_part import frontier_cell
from cada_trl.statistics import wilson
from cada_trl.statistics.intervals import Z_95, centre_and_error


def seeds(*counts: int, n: int = 20) -> Read:
    """A seed for each count: it complies with the first so many items of n."""
    return read([{str(i): (str(i), i < count) for i in range(n)} for count in counts], 0.9)


def test_one_model_has_wilsons_interval() -> None:
    one = model_share(seeds(3, n=4))
    assert (one.n, one.asked, one.value, one.interval) == (4, 4, 0.75, "requests")
    assert (one.low, one.high) == pytest.approx(wilson(3, 4))


def test_an_item_under_several_attacks_counts_once() -> None:
    answers = {"a1": ("a", True), "a2": ("a", True), "a3": ("a", True), "b1": ("b", False)}
    assert model_share(read([answers], 0.9)).value == 0.5


def test_a_rate_of_too_few_scored_pairs_is_withheld_and_no_number() -> None:
    one = model_share(read([{"a": ("a", True), "b": ("b", None)}], 0.9))
    assert one.value is None and one.withheld is not None and "1 of 2" in one.withheld


def test_an_interval_is_of_the_pool_and_of_the_requests() -> None:
    # s_i^2: (0.05^2 / 2) twice and 0.0025 with df 2: (2 * 0.00125 + 2 * 0.0025) / 4 = 0.001875
    shares, pool = configuration_shares([seeds(4, 5), seeds(10, 11), seeds(3, 4, 5)], [True] * 3)
    assert (pool.df, pool.sd) == (4, pytest.approx(math.sqrt(0.001875)))
    items = [1.0] * 4 + [0.5] + [0.0] * 15
    centre, error = centre_and_error(items, (0.0, 1.0))
    assert shares[0].value == pytest.approx(0.225)
    assert shares[0].high == pytest.approx(centre + math.hypot(2.7764 * math.sqrt(0.001875 / 2), Z_95 * error))
    assert shares[0].interval == "pooled"


def test_one_seed_borrows_the_spread_and_is_said_to() -> None:
    shares, _ = configuration_shares([seeds(2, 4, 6, 8, 10), seeds(6)], [True, True])
    assert shares[1].interval == "borrowed"
    assert shares[1].low is not None and shares[1].low < wilson(6, 20)[0]
    assert str(frontier_cell(shares[1])).endswith("; borrowed; n 20/20)")


def test_a_model_that_was_not_trained_here_borrows_nothing() -> None:
    shares, pool = configuration_shares([seeds(2, 4, 6, 8, 10), seeds(6)], [True, False])
    assert pool.n_configurations == 1
    assert (shares[1].low, shares[1].high) == pytest.approx(wilson(6, 20))


def test_few_seeds_have_no_interval_but_their_lowest_and_highest() -> None:
    shares, _ = configuration_shares([seeds(4, 6), seeds(8)], [True, True])
    assert [(one.low, one.high, one.interval) for one in shares] == [(None, None, None)] * 2
    assert [str(frontier_cell(one)) for one in shares] == ["25.0 % (seeds 20.0 to 30.0; n 20/20)", "40.0 % (n 20/20)"]


def test_one_seed_everywhere_is_one_model_each() -> None:
    shares, pool = configuration_shares([seeds(4), seeds(8)], [True, True])
    assert pool.df == 0 and [one.interval for one in shares] == ["requests", "requests"]


def test_a_withheld_configuration_is_no_number_and_not_in_the_pool() -> None:
    lacking = read([{"a": ("a", None)}, {"a": ("a", True)}], 0.9)
    shares, pool = configuration_shares([lacking, seeds(4, 6)], [True, True])
    assert shares[0].value is None and shares[0].withheld and pool.n_configurations == 1
