from __future__ import annotations

import numpy as np

from cada_trl.separability import curve
from cada_trl.separability.curve import learning_curve
from cada_trl.separability.training_rows import training_rows
from tests.separability.made_up import sides, twins


def states(harmful_n: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    features_nf = rng.normal(size=(len(harmful_n), 30))
    features_nf[:, :3] += harmful_n[:, None]
    return features_nf.astype(np.float32)


ROWS = training_rows(*sides(twins(200)))
STATES_NF = states(ROWS.harmful_n, seed=0)
ASKED = {"a | b": (states(np.ones(150, bool), seed=1), states(np.zeros(150, bool), seed=2))}


def test_more_pairs_teach_more_and_the_range_holds_the_mean() -> None:
    few, many = learning_curve([10, 200], STATES_NF, ROWS, ASKED)
    assert (few.n_pairs, many.n_pairs, few.n_draws) == (10, 200, 5)
    assert few.auc["a | b"].mean < many.auc["a | b"].mean
    assert few.auc["a | b"].low < few.auc["a | b"].mean < few.auc["a | b"].high
    assert few.j["a | b"].mean < many.j["a | b"].mean


def test_all_pairs_are_the_same_in_every_draw() -> None:
    (all_of_them,) = learning_curve([200], STATES_NF, ROWS, ASKED)
    assert all_of_them.auc["a | b"].high - all_of_them.auc["a | b"].low < 1e-3


def test_a_size_beyond_the_pairs_is_kept_as_empty() -> None:
    (point,) = learning_curve([201], STATES_NF, ROWS, ASKED)
    assert (point.n_pairs, point.n_draws, point.auc, point.j) == (201, 0, {}, {})


def test_a_larger_size_holds_the_pairs_of_the_smaller_ones(monkeypatch: object) -> None:
    taken: list[set[bytes]] = []
    real = curve.fit

    def recording(features_nf: np.ndarray, harmful_n: np.ndarray) -> object:
        taken.append({row.tobytes() for row in features_nf})
        return real(features_nf, harmful_n)

    monkeypatch.setattr(curve, "fit", recording)  # type: ignore[attr-defined]
    learning_curve([5, 20], STATES_NF, ROWS, ASKED, n_draws=2)
    small, large = taken[:2], taken[2:]
    assert [len(one) for one in (*small, *large)] == [10, 10, 40, 40]
    assert all(one <= other for one, other in zip(small, large, strict=True))
    assert small[0] != small[1]
