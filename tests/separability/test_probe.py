from __future__ import annotations

import numpy as np
import pytest

from cada_trl.separability.probe import BagOfWords, fit
from cada_trl.statistics.resampled import auc_and_j


def cloud(n: int, seed: int, apart: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first tells the two kinds apart, and what each row is."""
    rng = np.random.default_rng(seed)
    harmful_n = np.arange(n) % 2 == 0
    features_nf = rng.normal(size=(n, 20)).astype(np.float32)
    features_nf[:, 0] += apart * harmful_n
    return features_nf, harmful_n


def held_out_auc(features_nf: np.ndarray, harmful_n: np.ndarray) -> float:
    asked_nf, is_harmful_n = cloud(200, seed=9)
    score_n = fit(features_nf, harmful_n).score(asked_nf)
    return auc_and_j(score_n[is_harmful_n], score_n[~is_harmful_n])[0]


def test_a_separable_set_is_separated_whatever_the_scale_of_a_feature() -> None:
    features_nf, harmful_n = cloud(200, seed=0)
    assert held_out_auc(features_nf, harmful_n) > 0.98
    features_nf[:, 1] *= 1000
    score_n = fit(features_nf, harmful_n).score(features_nf)
    assert auc_and_j(score_n[harmful_n], score_n[~harmful_n])[0] > 0.98


def test_shuffled_labels_teach_nothing() -> None:
    found = []
    for seed in range(5):
        features_nf, harmful_n = cloud(200, seed)
        found.append(held_out_auc(features_nf, np.random.default_rng(seed).permutation(harmful_n)))
    assert 0.2 < np.mean(found) < 0.8


def test_a_rare_kind_weighs_as_much_as_a_common_one() -> None:
    features_nf, harmful_n = cloud(400, seed=1, apart=2.0)
    kept = np.flatnonzero(~harmful_n | (np.arange(400) < 40))  # 20 harmful rows, 200 harmless ones
    score_n = fit(features_nf[kept], harmful_n[kept]).score(features_nf[kept])
    called_harmful = score_n > 0
    assert called_harmful[harmful_n[kept]].mean() > 0.7
    assert called_harmful[~harmful_n[kept]].mean() < 0.3


def test_the_same_rows_give_the_same_probe_and_a_constant_feature_none_of_the_weight() -> None:
    features_nf, harmful_n = cloud(60, seed=2)
    features_nf[:, 3] = 1.0
    one, other = fit(features_nf, harmful_n), fit(features_nf, harmful_n)
    assert np.array_equal(one.weight_f, other.weight_f)
    assert one.weight_f[3] == 0.0


def test_one_kind_alone_is_refused() -> None:
    features_nf, _ = cloud(10, seed=0)
    with pytest.raises(ValueError, match="expected harmful and harmless rows"):
        fit(features_nf, np.ones(10, dtype=bool))


HARMFUL = ["the clerk robs the guest", "the son sues the father", "the fan mocks the singer"]
HARMLESS = ["the guest robs the clerk", "the father sues the son", "the singer mocks the fan"]


def test_a_word_counts_once_a_text_and_needs_two_texts() -> None:
    bag = BagOfWords(["Lock, lock: a door", "a DOOR opens"])
    assert list(bag.column) == ["a", "door"]
    assert bag.features(["door door", "an unknown word"]).tolist() == [[0, 1], [0, 0]]


def test_twins_that_differ_in_order_alone_cannot_be_told_apart() -> None:
    bag = BagOfWords([*HARMFUL, *HARMLESS])
    probe = fit(bag.features([*HARMFUL, *HARMLESS]), np.arange(6) < 3, standardised=False)
    auc, j = auc_and_j(probe.score(bag.features(HARMFUL)), probe.score(bag.features(HARMLESS)))
    assert (auc, j) == (0.5, 0.0)


def test_a_word_that_one_kind_holds_tells_it() -> None:
    texts = [*(f"steal the {thing}" for thing in "abcd"), *(f"paint the {thing}" for thing in "abcd")]
    bag = BagOfWords(texts)
    probe = fit(bag.features(texts), np.arange(8) < 4, standardised=False)
    score_n = probe.score(bag.features(["steal it", "paint it"]))
    assert score_n[0] > 0 > score_n[1]
