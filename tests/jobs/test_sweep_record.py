"""A sweep's numbers, and its configurations over their seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cada_trl.jobs.sweep_record import metrics_of, over_seeds
from tests.report.made_up_evaluation import answers_most, write_evaluation

ASR = "asr/strongreject/none"


def record(**values: list[float | None]) -> dict[str, Any]:
    """A configuration for each name, a cell for each of its seeds; None is a cell without the number."""
    return {
        "axes": {"beta_kl": list(values), "seed": [0, 1]},
        "cells": [
            {"config_hash": name, "axes": {"beta_kl": name}, "metrics": {} if one is None else {ASR: {"value": one}}}
            for name, seeds in values.items()
            for one in seeds
        ],
    }


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def test_means_have_an_interval_of_the_pooled_variance() -> None:
    # s^2 0.01 and 0.0001, df 2 each: s = 0.07106; 2.7764 * s / sqrt(3) = 0.1139, for one seed 0.1973
    text = over_seeds(record(a=[0.6, 0.7, 0.8], b=[0.39, 0.4, 0.41], c=[0.9]), [ASR])
    assert rows(text) == [
        "| a | 70.0 % (3 seeds; 58.6 to 81.4) |",
        "| b | 40.0 % (3 seeds; 28.6 to 51.4) |",
        "| c | 90.0 % (1 seed; 70.3 to 100.0, borrowed) |",
    ]
    assert "2 configurations, 6 seeds, 4 degrees of freedom" in text


def test_few_seeds_have_their_lowest_and_highest_and_no_interval() -> None:
    text = over_seeds(record(a=[0.6, 0.8], b=[0.4]), [ASR])
    assert rows(text) == ["| a | 70.0 % (2 seeds, 60.0 to 80.0) |", "| b | 40.0 % (1 seed) |"]
    assert "No interval over seeds" in text


def test_a_cell_without_a_number_is_left_out_and_never_0() -> None:
    assert rows(over_seeds(record(a=[0.6, None, 0.8], b=[None]), [ASR])) == [
        "| a | 70.0 % (2 seeds, 60.0 to 80.0) |",
        "| b | n/a |",
    ]


def test_one_seed_a_configuration_has_no_table() -> None:
    assert over_seeds(record(a=[0.6], b=[0.8]), [ASR]) == ""


def test_an_evaluations_numbers_are_named_by_metric_benchmark_and_attack(tmp_path: Path) -> None:
    metrics = metrics_of([str(write_evaluation(tmp_path / "evaluation", answers_most))])
    assert set(metrics) == {"asr/strongreject/none", "asr/strongreject/pair", "nrr/xstest_safe/none"}
    assert metrics["asr/strongreject/none"]["value"] == pytest.approx(18 / 24)  # every fourth of 24 is refused
    assert set(metrics["nrr/xstest_safe/none"]) == {"n", "asked", "value", "low", "high"}
