from __future__ import annotations

import pytest

from cada_trl.evals.compare import Change
from cada_trl.evals.scores import Measure
from cada_trl.reporting.evaluation.numbers import difference_cell, p_cell, rate_cell, reading


def withheld(n: int) -> Measure:
    return Measure(n=n, asked=10, successes=None, value=None, low=None, high=None, withheld="why")


def test_what_is_not_known_has_no_number() -> None:
    assert str(rate_cell(None)) == "n/a"
    assert str(rate_cell(withheld(0))) == "n/a"
    assert str(rate_cell(withheld(3))) == "withheld"
    assert str(difference_cell(Change(n_pairs=0, n_items=0, withheld="why"))) == "n/a"
    assert p_cell(None) == "n/a"


def test_a_difference_is_in_points_and_a_small_p_is_a_bound() -> None:
    change = Change(n_pairs=50, n_items=50, before=0.5, after=0.38, difference=-0.12, low=-0.2, high=-0.04)
    assert str(difference_cell(change)) == "-12.0 points (-20.0 to -4.0; 50 pairs)"
    assert (p_cell(0.0004), p_cell(0.04)) == ("< 0.001", "0.040")


@pytest.mark.parametrize(
    ("low", "high", "metric", "words"),
    [
        (-0.2, -0.1, "asr", "safer"),
        (0.1, 0.2, "asr", "less safe"),
        (-0.2, -0.1, "nrr", "less helpful"),
        (0.1, 0.2, "nrr", "more helpful"),
        (-0.1, 0.1, "asr", "no clear change"),
    ],
)
def test_the_interval_decides_how_a_difference_is_read(low: float, high: float, metric: str, words: str) -> None:
    change = Change(n_pairs=9, n_items=9, before=0.5, after=0.5, difference=0.0, low=low, high=high)
    assert reading(change, metric) == words  # type: ignore[arg-type]
