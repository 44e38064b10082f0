from __future__ import annotations

from cada_trl.reporting.pooled_words import pooled_note, pooled_words
from cada_trl.statistics import pooled_spread

ENOUGH, FEW, NONE = (pooled_spread([[0.4, 0.6]] * 4), pooled_spread([[0.4, 0.6]]), pooled_spread([[0.4]]))


def test_a_pool_is_said_with_its_configurations_seeds_degrees_of_freedom_and_assumption() -> None:
    told = pooled_words(ENOUGH)
    assert "4 configurations, 8 seeds, 4 degrees of freedom" in told
    assert "spread alike" in told and "borrows it" in told


def test_too_small_a_pool_is_said_to_give_no_interval() -> None:
    assert pooled_words(FEW).startswith("No interval over seeds: 1 configuration, 2 seeds, 1 degree of freedom")


def test_without_a_second_seed_nothing_is_said() -> None:
    assert pooled_words(NONE) == ""


def test_what_holds_for_both_is_said_once_and_what_differs_by_name() -> None:
    assert pooled_note([("ASR", ENOUGH), ("NRR", ENOUGH)]) == pooled_words(ENOUGH)
    assert pooled_note([("ASR", ENOUGH), ("NRR", FEW)]) == f"ASR: {pooled_words(ENOUGH)} NRR: {pooled_words(FEW)}"
