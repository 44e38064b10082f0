from __future__ import annotations

import numpy as np
import pytest

from cada_trl.separability.measures import auc_and_j, separation


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_auc_and_j_of_four_against_three_are_those_counted_by_hand() -> None:
    # 3 is above all three, 2 above two, 0.5 above one, 0 above none; above 2.5 are 1 of 4 and 0 of 3
    auc, j = auc_and_j(scores(3, 2, 0.5, 0), scores(0.1, 1.5, 2.5))
    assert auc == pytest.approx(6 / 12)
    assert j == pytest.approx(1 / 4)


def test_a_tie_counts_half() -> None:
    assert auc_and_j(scores(1, 1), scores(1, 1)) == (0.5, 0.0)
    assert auc_and_j(scores(1, 2), scores(1))[0] == 0.75


def test_perfect_scores_have_one_and_one_and_reversed_ones_zero_and_zero() -> None:
    assert auc_and_j(scores(2, 3), scores(0, 1)) == (1.0, 1.0)
    assert auc_and_j(scores(0, 1), scores(2, 3)) == (0.0, 0.0)


def test_the_interval_holds_the_value_repeats_and_narrows_with_more_texts() -> None:
    rng = np.random.default_rng(0)
    harmful_n, harmless_n = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    few, many = separation(harmful_n[:40], harmless_n[:40]), separation(harmful_n, harmless_n)
    assert many == separation(harmful_n, harmless_n)
    assert many.auc.low < many.auc.value < many.auc.high
    assert many.auc.high - many.auc.low < 0.5 * (few.auc.high - few.auc.low)
    assert many.auc.low < 0.760 < many.auc.high  # of two normals one deviation apart
    assert many.j.low < 0.383 < many.j.high


def test_the_interval_of_a_separable_pair_has_no_width() -> None:
    found = separation(scores(2, 3, 4), scores(0, 1))
    assert (found.auc.low, found.auc.high, found.j.low) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("sides", [(scores(), scores(1)), (scores(1), scores()), (scores(float("nan")), scores(1))])
def test_an_empty_side_or_a_nan_is_refused(sides: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="expected scores"):
        auc_and_j(*sides)
