from __future__ import annotations

from cada_trl.reporting.run.cells import difference_cell, rate_cell, reward_cell, seed_cell


def test_a_rate_is_written_with_counts_and_interval() -> None:
    rate = {"successes": 21, "n": 50, "rate": 0.42, "low": 0.2938, "high": 0.5577}
    assert str(rate_cell(rate)) == "42.0 % (21/50; 29.4 to 55.8)"


def test_a_difference_is_written_in_points_with_its_pairs() -> None:
    paired = {"n_pairs": 50, "difference": 0.12, "low": -0.03, "high": 0.2}
    assert str(difference_cell(paired)) == "+12.0 points (-3.0 to +20.0; 50 pairs)"


def test_what_is_absent_is_never_written_as_a_number() -> None:
    absent = {"successes": 0, "n": 0, "rate": None, "low": None, "high": None}
    assert str(rate_cell(absent)) == str(rate_cell(None)) == str(reward_cell(None)) == "n/a"
    assert seed_cell(None, "answered_frac", "after") == "n/a"


def test_a_deviation_has_no_sign() -> None:
    assert seed_cell(0.05, "reward_mean", "sd") == "0.05"
    assert seed_cell(0.05, "answered_frac", "sd") == "5.0"
