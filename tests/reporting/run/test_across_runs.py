from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cada_trl.reporting.run.across_runs import across_runs, seeds_note
from cada_trl.reporting.run.cells import over_seeds_cell
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.summary import summarise


def summary(run: str, config_hash: str, seed: int, rate: float | None) -> dict[str, Any]:
    probe = {
        "before": {"answered_frac": {"rate": 0.5}},
        "after": {"answered_frac": {"rate": rate}},
        "paired": {"answered_frac": {"difference": None if rate is None else rate - 0.5}},
    }
    return {"run": run, "config_hash": config_hash, "seed": seed, "probes": {"harmless": probe}}


def test_mean_and_sample_deviation_over_seeds_are_as_by_hand() -> None:
    (group,) = across_runs([summary("a", "h", seed, rate) for seed, rate in enumerate((0.6, 0.7, 0.8))])
    after = next(row for row in group["rows"] if row["stage"] == "after")
    assert after["per_run"] == [0.6, 0.7, 0.8]
    assert after["mean"] == pytest.approx(0.7)
    assert after["sd"] == pytest.approx(0.1)


def test_runs_of_different_configurations_are_never_averaged() -> None:
    groups = across_runs([summary("a", "h1", 0, 0.6), summary("b", "h2", 0, 0.8)])
    assert [group["config_hash"] for group in groups] == ["h1", "h2"]
    assert all(row["sd"] is None for group in groups for row in group["rows"])


def test_a_seed_without_a_value_is_left_out_and_counted() -> None:
    (group,) = across_runs([summary("a", "h", 0, 0.6), summary("b", "h", 1, None), summary("c", "h", 2, 0.8)])
    after = next(row for row in group["rows"] if row["stage"] == "after")
    assert (after["n_runs"], after["mean"]) == (2, pytest.approx(0.7))


def test_every_measure_of_a_real_summary_is_in_the_table(make_run: Callable[..., RunRecord]) -> None:
    (group,) = across_runs([summarise(make_run(seed)) for seed in (0, 1)])
    rewards = [row for row in group["rows"] if (row["set"], row["measure"]) == ("held_out", "reward_mean")]
    assert [row["stage"] for row in rewards] == ["before", "after", "difference"]
    assert all(value is not None for row in rewards for value in row["per_run"])


def after(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for group in groups for row in group["rows"] if row["stage"] == "after"]


def two_by_three(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """s^2 is 0.01 and 0.0001 with two degrees of freedom each: pooled 0.00505 with four."""
    rates = {"h1": (0.6, 0.7, 0.8), "h2": (0.39, 0.4, 0.41)}
    runs = [summary(f"{name}{seed}", name, seed, rate) for name, own in rates.items() for seed, rate in enumerate(own)]
    return across_runs([*runs, *more])


def test_the_variance_is_pooled_over_the_configurations() -> None:
    # 2.7764 * sqrt(0.00505 / 3) = 0.1139
    first, second = after(two_by_three())
    assert (first["pooled"]["df"], first["pooled"]["sd"]) == (4, pytest.approx(0.00505**0.5))
    assert (first["low"], first["high"]) == pytest.approx((0.7 - 0.1139, 0.7 + 0.1139), abs=1e-4)
    assert (second["low"], second["high"]) == pytest.approx((0.4 - 0.1139, 0.4 + 0.1139), abs=1e-4)
    assert over_seeds_cell(second) == "28.6 to 51.4"


def test_one_run_borrows_the_spread_and_is_said_to() -> None:
    # 2.7764 * sqrt(0.00505) = 0.1973, cut at 1
    *_, one = after(two_by_three(summary("x", "h3", 0, 0.9)))
    assert (one["low"], one["high"], one["borrowed"]) == (pytest.approx(0.7027, abs=1e-4), 1.0, True)
    assert over_seeds_cell(one) == "70.3 to 100.0, borrowed"


def test_before_training_there_are_no_seeds_and_no_interval() -> None:
    rows = [row for group in two_by_three() for row in group["rows"] if row["stage"] == "before"]
    assert all(row["low"] is None for row in rows)


def test_few_runs_have_no_interval_but_their_lowest_and_highest() -> None:
    groups = across_runs([summary("a", "h", 0, 0.6), summary("b", "h", 1, 0.8), summary("c", "i", 0, 0.5)])
    assert [over_seeds_cell(row) for row in after(groups)] == ["seeds 60.0 to 80.0", "n/a"]
    assert "No interval over seeds: 1 configuration, 2 seeds, 1 degree of freedom" in seeds_note(groups)


def test_the_note_says_what_was_pooled_and_nothing_without_a_second_run() -> None:
    assert "2 configurations, 6 seeds, 4 degrees of freedom" in seeds_note(two_by_three())
    assert seeds_note(across_runs([summary("a", "h", 0, 0.6)])) == ""


def test_a_run_without_a_value_has_no_interval_to_borrow() -> None:
    *_, one = after(two_by_three(summary("x", "h3", 0, None)))
    assert (one["mean"], one["low"], over_seeds_cell(one)) == (None, None, "n/a")
