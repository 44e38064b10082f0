import numpy as np
import pytest

from cada_trl.errors import UserError
from cada_trl.separability import probe as module
from cada_trl.separability.probe import (
    N_DRAWS,
    N_FOLDS,
    BagOfWords,
    candidate_layers,
    cross_validated,
    fit,
    folds,
    learning_curve,
    training_rows,
)
from cada_trl.statistics.resampled import auc_and_j
from tests.separability.made_up import alone, sides, twins


def cloud(n, seed, apart=4.0):
    """Features of which the first tells the two kinds apart, and what each row is."""
    rng = np.random.default_rng(seed)
    harmful_n = np.arange(n) % 2 == 0
    features_nf = rng.normal(size=(n, 20)).astype(np.float32)
    features_nf[:, 0] += apart * harmful_n
    return features_nf, harmful_n


def held_out_auc(features_nf, harmful_n):
    asked_nf, is_harmful_n = cloud(200, seed=9)
    score_n = fit(features_nf, harmful_n).score(asked_nf)
    return auc_and_j(score_n[is_harmful_n], score_n[~is_harmful_n])[0]


def test_a_separable_set_is_separated_whatever_the_scale_of_a_feature():
    features_nf, harmful_n = cloud(200, seed=0)
    assert held_out_auc(features_nf, harmful_n) > 0.98
    features_nf[:, 1] *= 1000
    score_n = fit(features_nf, harmful_n).score(features_nf)
    assert auc_and_j(score_n[harmful_n], score_n[~harmful_n])[0] > 0.98


def test_shuffled_labels_teach_nothing():
    found = []
    for seed in range(5):
        features_nf, harmful_n = cloud(200, seed)
        found.append(held_out_auc(features_nf, np.random.default_rng(seed).permutation(harmful_n)))
    assert 0.2 < np.mean(found) < 0.8


def test_a_rare_kind_weighs_as_much_as_a_common_one():
    features_nf, harmful_n = cloud(400, seed=1, apart=2.0)
    kept = np.flatnonzero(~harmful_n | (np.arange(400) < 40))  # 20 harmful rows, 200 harmless ones
    score_n = fit(features_nf[kept], harmful_n[kept]).score(features_nf[kept])
    called_harmful = score_n > 0
    assert called_harmful[harmful_n[kept]].mean() > 0.7
    assert called_harmful[~harmful_n[kept]].mean() < 0.3


def test_the_same_rows_give_the_same_probe_and_a_constant_feature_none_of_the_weight():
    features_nf, harmful_n = cloud(60, seed=2)
    features_nf[:, 3] = 1.0
    one, other = fit(features_nf, harmful_n), fit(features_nf, harmful_n)
    assert np.array_equal(one.weight_f, other.weight_f)
    assert one.weight_f[3] == 0.0


def test_one_kind_alone_is_refused():
    features_nf, _ = cloud(10, seed=0)
    with pytest.raises(ValueError, match="expected harmful and harmless rows"):
        fit(features_nf, np.ones(10, dtype=bool))


HARMFUL = ["the clerk robs the guest", "the son sues the father", "the fan mocks the singer"]
HARMLESS = ["the guest robs the clerk", "the father sues the son", "the singer mocks the fan"]


def test_a_word_counts_once_a_text_and_needs_two_texts():
    bag = BagOfWords(["Lock, lock: a door", "a DOOR opens"])
    assert list(bag.column) == ["a", "door"]
    assert bag.features(["door door", "an unknown word"]).tolist() == [[0, 1], [0, 0]]


def test_twins_that_differ_in_order_alone_cannot_be_told_apart():
    bag = BagOfWords([*HARMFUL, *HARMLESS])
    probe = fit(bag.features([*HARMFUL, *HARMLESS]), np.arange(6) < 3, standardised=False)
    auc, j = auc_and_j(probe.score(bag.features(HARMFUL)), probe.score(bag.features(HARMLESS)))
    assert (auc, j) == (0.5, 0.0)


def test_a_word_that_one_kind_holds_tells_it():
    texts = [*(f"steal the {thing}" for thing in "abcd"), *(f"paint the {thing}" for thing in "abcd")]
    bag = BagOfWords(texts)
    probe = fit(bag.features(texts), np.arange(8) < 4, standardised=False)
    score_n = probe.score(bag.features(["steal it", "paint it"]))
    assert score_n[0] > 0 > score_n[1]


def test_a_pair_is_the_two_rows_of_one_group():
    harmful, harmless = sides(twins(12))
    rows = training_rows([*harmful, *alone(5, True)], [*reversed(harmless), *alone(3, False)])
    pairs = rows.pairs(np.random.default_rng(0))
    assert len(pairs) == len(rows.twins()) == 12
    for one, other in pairs:
        assert rows.groups[one] == rows.groups[other]
        assert rows.harmful_n[one] and not rows.harmful_n[other]


def test_without_twins_a_pair_is_drawn_and_no_row_is_in_two():
    rows = training_rows(alone(15, True), alone(10, False))
    pairs = rows.pairs(np.random.default_rng(0))
    assert (rows.twins(), len(pairs)) == ([], 10)
    assert all(rows.harmful_n[one] and not rows.harmful_n[other] for one, other in pairs)
    assert len({row for pair in pairs for row in pair}) == 20


def test_the_order_is_the_seeds():
    rows = training_rows(*sides(twins(12)))
    first, again, other = (rows.pairs(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_too_few_of_one_kind_are_refused_with_their_number():
    with pytest.raises(UserError, match="12 harmful and 0 harmless training rows; expected at least 10 of each"):
        training_rows(alone(12, True), [])


def mixed():
    harmful, harmless = sides(twins(12))
    return training_rows([*harmful, *alone(11, True)], [*harmless, *alone(10, False)])


def test_the_candidates_are_shares_of_the_depth():
    assert candidate_layers(30) == [10, 15, 20, 25, 30]
    assert candidate_layers(32) == [11, 16, 21, 27, 32]
    assert candidate_layers(2) == [1, 2]
    assert candidate_layers(1) == [1]


def test_twins_are_in_one_fold_and_every_fold_holds_both_kinds():
    rows = mixed()
    fold_n = folds(rows, seed=0)
    assert all(fold_n[one] == fold_n[other] for one, other in rows.twins())
    for fold in range(N_FOLDS):
        assert rows.harmful_n[fold_n == fold].any()
        assert not rows.harmful_n[fold_n == fold].all()


@pytest.mark.parametrize("n", [10, 11, 13])
def test_the_fewest_rows_still_fill_every_fold(n):
    rows = training_rows(alone(n, True), alone(n, False))
    counts = [
        [int((folds(rows, 0)[rows.harmful_n == side] == fold).sum()) for fold in range(N_FOLDS)] for side in (0, 1)
    ]
    assert min(min(one) for one in counts) >= 2


def test_the_layer_that_knows_has_the_higher_area_and_a_memorised_pair_has_none():
    rows = mixed()
    rng = np.random.default_rng(0)
    noise_nf = rng.normal(size=(len(rows.texts), 8))
    knows_nf = noise_nf + 3 * rows.harmful_n[:, None]
    found = cross_validated(np.stack([noise_nf, knows_nf]).astype(np.float32), [1, 2], rows, seed=0)
    assert found[2] > 0.95
    assert found[1] < 0.8


def states(harmful_n, seed):
    rng = np.random.default_rng(seed)
    features_nf = rng.normal(size=(len(harmful_n), 30))
    features_nf[:, :3] += harmful_n[:, None]
    return features_nf.astype(np.float32)


ROWS = training_rows(*sides(twins(200)))
STATES_NF = states(ROWS.harmful_n, seed=0)
ASKED = {"a | b": (states(np.ones(150, bool), seed=1), states(np.zeros(150, bool), seed=2))}


def test_more_pairs_teach_more_and_the_range_holds_the_mean():
    few, many = learning_curve([10, 200], STATES_NF, ROWS, ASKED)
    assert (few.n_pairs, many.n_pairs, few.n_draws) == (10, 200, 5)
    assert few.auc["a | b"].mean < many.auc["a | b"].mean
    assert few.auc["a | b"].low < few.auc["a | b"].mean < few.auc["a | b"].high
    assert few.j["a | b"].mean < many.j["a | b"].mean


def test_all_pairs_are_the_same_in_every_draw():
    (all_of_them,) = learning_curve([200], STATES_NF, ROWS, ASKED)
    assert all_of_them.auc["a | b"].high - all_of_them.auc["a | b"].low < 1e-3


def test_a_size_beyond_the_pairs_is_kept_as_empty():
    (point,) = learning_curve([201], STATES_NF, ROWS, ASKED)
    assert (point.n_pairs, point.n_draws, point.auc, point.j) == (201, 0, {}, {})


def test_a_larger_size_holds_the_pairs_of_the_smaller_ones(monkeypatch):
    taken = []
    real = module.fit

    def recording(features_nf, harmful_n):
        taken.append({row.tobytes() for row in features_nf})
        return real(features_nf, harmful_n)

    monkeypatch.setattr(module, "fit", recording)
    learning_curve([5, 20], STATES_NF, ROWS, ASKED)
    small, large = taken[:N_DRAWS], taken[N_DRAWS:]
    assert [len(one) for one in (*small, *large)] == [10] * N_DRAWS + [40] * N_DRAWS
    assert all(one <= other for one, other in zip(small, large, strict=True))
    assert small[0] != small[1]
