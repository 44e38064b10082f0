"""bootstrap: intervals of a mean."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import bootstrap_mean


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
