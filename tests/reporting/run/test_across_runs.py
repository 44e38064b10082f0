from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cada_trl.reporting.run.across_runs import across_runs
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
