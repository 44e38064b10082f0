from __future__ import annotations

import numpy as np
import pytest

from cada_trl.separability.layers import N_FOLDS, candidate_layers, cross_validated, folds
from cada_trl.separability.training_rows import TrainingRows, training_rows
from tests.separability.made_up import alone, sides, twins


def mixed() -> TrainingRows:
    harmful, harmless = sides(twins(12))
    return training_rows([*harmful, *alone(11, True)], [*harmless, *alone(10, False)])


def test_the_candidates_are_shares_of_the_depth() -> None:
    assert candidate_layers(30) == [10, 15, 20, 25, 30]
    assert candidate_layers(32) == [11, 16, 21, 27, 32]
    assert candidate_layers(2) == [1, 2]
    assert candidate_layers(1) == [1]


def test_twins_are_in_one_fold_and_every_fold_holds_both_kinds() -> None:
    rows = mixed()
    fold_n = folds(rows, seed=0)
    assert all(fold_n[one] == fold_n[other] for one, other in rows.twins())
    for fold in range(N_FOLDS):
        assert rows.harmful_n[fold_n == fold].any()
        assert not rows.harmful_n[fold_n == fold].all()


@pytest.mark.parametrize("n", [10, 11, 13])
def test_the_fewest_rows_still_fill_every_fold(n: int) -> None:
    rows = training_rows(alone(n, True), alone(n, False))
    counts = [
        [int((folds(rows, 0)[rows.harmful_n == side] == fold).sum()) for fold in range(N_FOLDS)] for side in (0, 1)
    ]
    assert min(min(one) for one in counts) >= 2


def test_the_layer_that_knows_has_the_higher_area_and_a_memorised_pair_has_none() -> None:
    rows = mixed()
    rng = np.random.default_rng(0)
    noise_nf = rng.normal(size=(len(rows.texts), 8))
    knows_nf = noise_nf + 3 * rows.harmful_n[:, None]
    found = cross_validated(np.stack([noise_nf, knows_nf]).astype(np.float32), [1, 2], rows, seed=0)
    assert found[2] > 0.95
    assert found[1] < 0.8
