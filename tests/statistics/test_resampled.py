import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.statistics.resampled import auc_and_j, auc_and_j_intervals


def scores(*values):
    return np.array(values, dtype=np.float64)


def test_auc_and_j_of_four_against_three_are_those_counted_by_hand():
    # 3 is above all three, 2 above two, 0.5 above one, 0 above none; above 2.5 are 1 of 4 and 0 of 3
    auc, j = auc_and_j(scores(3, 2, 0.5, 0), scores(0.1, 1.5, 2.5))
    assert auc == pytest.approx(6 / 12)
    assert j == pytest.approx(1 / 4)


def test_a_tie_counts_half():
    assert auc_and_j(scores(1, 1), scores(1, 1)) == (0.5, 0.0)
    assert auc_and_j(scores(1, 2), scores(1))[0] == 0.75


def test_perfect_scores_have_one_and_one_and_reversed_ones_zero_and_zero():
    assert auc_and_j(scores(2, 3), scores(0, 1)) == (1.0, 1.0)
    assert auc_and_j(scores(0, 1), scores(2, 3)) == (0.0, 0.0)


def test_the_interval_holds_the_value_repeats_and_narrows_with_more_texts():
    rng = np.random.default_rng(0)
    harmful_n, harmless_n = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    few, many = (auc_and_j_intervals(harmful_n[:n], harmless_n[:n]) for n in (40, 400))
    assert many == auc_and_j_intervals(harmful_n, harmless_n)
    assert many[0].low < many[0].value < many[0].high
    assert many[0].high - many[0].low < 0.5 * (few[0].high - few[0].low)
    assert many[0].low < 0.760 < many[0].high  # of two normals one deviation apart
    assert many[1].low < 0.383 < many[1].high


def test_sets_that_nothing_mixes_have_an_interval_with_a_width():
    for auc_or_j in auc_and_j_intervals(scores(2, 3, 4), scores(0, 1)):
        assert auc_or_j.value == auc_or_j.high == 1 and 0 < auc_or_j.low < 0.8


def test_a_j_of_zero_has_an_interval_with_a_width_that_holds_a_small_true_j():
    assert auc_and_j_intervals(scores(0, 1), scores(2, 3))[1].high > 0
    rng = np.random.default_rng(1)  # deviations of 2 and 1, means of -1 and 0: the true J is 0.045
    found = [auc_and_j_intervals(rng.normal(-1, 2, 10), rng.normal(0, 1, 10))[1] for _ in range(60)]
    assert sum(j.low <= 0.045 <= j.high for j in found) >= 57


def test_js_interval_goes_further_down_than_up_and_holds_the_value():
    rng = np.random.default_rng(0)
    j = auc_and_j_intervals(rng.normal(1, 1, 100), rng.normal(0, 1, 100))[1]
    assert j.low < j.value < j.high
    assert j.value - j.low > 1.1 * (j.high - j.value)  # the value is the highest of many


@pytest.mark.parametrize("sides", [(scores(), scores(1)), (scores(1), scores()), (scores(float("nan")), scores(1))])
def test_an_empty_side_or_a_nan_is_refused(sides):
    with pytest.raises(ValueError, match="expected scores"):
        auc_and_j(*sides)


@given(*[st.lists(st.integers(0, 5), min_size=1, max_size=12)] * 2)
def test_the_area_is_scipys_mann_whitney_u_over_all_pairs(high, low):
    u = scipy.stats.mannwhitneyu(high, low).statistic
    assert auc_and_j(np.array(high, float), np.array(low, float))[0] == pytest.approx(u / (len(high) * len(low)))


@given(*[st.lists(st.integers(0, 5), min_size=1, max_size=12)] * 2)
def test_j_is_scipys_one_sided_kolmogorov_smirnov_distance(high, low):
    distance = scipy.stats.ks_2samp(low, high, alternative="greater").statistic
    assert auc_and_j(np.array(high, float), np.array(low, float))[1] == pytest.approx(distance)
