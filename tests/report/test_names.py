import pytest

from cada_trl.report.names import SETS, measure_label, measures, pooled_note, pooled_words, probe_reading
from cada_trl.statistics.seeds import pooled_spread
from cada_trl.tracking.metrics import PROBE_SETS, metric


def test_every_probe_set_has_words_and_every_measure_is_a_registered_metric():
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
def test_a_reading_needs_an_interval_without_zero_and_knows_the_set(probe_set, measure, low, high, expected):
    assert probe_reading(probe_set, measure, low, high) == expected


ENOUGH, FEW, NONE = (pooled_spread([[0.4, 0.6]] * 4), pooled_spread([[0.4, 0.6]]), pooled_spread([[0.4]]))


def test_a_pool_is_said_with_its_counts_and_assumption_or_that_it_gives_no_interval():
    told = pooled_words(ENOUGH)
    assert "4 configurations, 8 seeds, 4 degrees of freedom" in told
    assert "spread alike" in told and "borrows it" in told
    assert pooled_words(FEW).startswith("No interval over seeds: 1 configuration, 2 seeds, 1 degree of freedom")
    assert pooled_words(NONE) == ""


def test_what_holds_for_both_is_said_once_and_what_differs_by_name():
    assert pooled_note([("ASR", ENOUGH), ("NRR", ENOUGH)]) == pooled_words(ENOUGH)
    assert pooled_note([("ASR", ENOUGH), ("NRR", FEW)]) == f"ASR: {pooled_words(ENOUGH)} NRR: {pooled_words(FEW)}"
