"""The numbers that a sweep has of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.jobs.session import metrics_of
from tests.report.made_up_evaluation import answers_most, write_evaluation


def test_an_evaluations_numbers_are_named_by_metric_benchmark_and_attack(tmp_path: Path) -> None:
    metrics = metrics_of([str(write_evaluation(tmp_path / "evaluation", answers_most))])
    assert set(metrics) == {"asr/strongreject/none", "asr/strongreject/pair", "nrr/xstest_safe/none"}
    assert metrics["asr/strongreject/none"]["value"] == pytest.approx(18 / 24)  # every fourth of 24 is refused
    assert set(metrics["nrr/xstest_safe/none"]) == {"n", "asked", "value", "low", "high"}
