from __future__ import annotations

import pytest

from cada_trl.reporting.run.labels import SETS, measure_label, measures, reading
from cada_trl.tracking.metrics import PROBE_SETS, metric


def test_every_probe_set_has_words_and_every_measure_is_a_registered_metric() -> None:
    assert set(SETS) == set(PROBE_SETS)
    for probe_set in PROBE_SETS:
        for measure in (*measures(probe_set), "reward_mean"):
            assert measure_label(probe_set, measure)
            metric(f"probe/{probe_set}/{measure}")


@pytest.mark.parametrize(
    ("probe_set", "measure", "low", "high", "expected"),
    [
        ("harmful", "answered_frac", -0.3, -0.1, "better"),
        ("harmless", "answered_frac", -0.3, -0.1, "worse"),
        ("harmless", "answered_frac", -0.3, 0.0, "no clear change"),
        ("harmless", "reasoning_frac", 0.1, 0.2, "changed"),
    ],
)
def test_a_reading_needs_an_interval_without_zero_and_knows_the_set(
    probe_set: str, measure: str, low: float, high: float, expected: str
) -> None:
    assert reading(probe_set, measure, low, high) == expected
