"""paired: two runs on the same items, against arithmetic done by hand."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.statistics.intervals import adjusted_mean
from cada_trl.statistics.paired import agreement, agreement_line, cohen_kappa, holm, sign_flip


def test_items_that_change_by_one_give_mcnemars_p():
    # 7 pairs changed, one or none of them in the rarer direction: (1 + 7) / 2^7, two tails
    assert sign_flip([1] * 6 + [-1] + [0] * 20) == 2 * (1 + 7) / 2**7
    assert sign_flip([0] * 20) == sign_flip([1, -1]) == 1.0


def test_thousands_of_pairs_keep_their_digits():
    # the normal approximation with continuity: z = 99 / sqrt(2000) = 2.214, two tails 0.0268
    p = sign_flip([1] * 950 + [-1] * 1050)
    assert p == pytest.approx(0.0268, abs=2e-4)
    assert p == pytest.approx(scipy.stats.binomtest(950, 2000).pvalue, rel=1e-10)


def test_the_same_changes_on_fewer_items_are_less_evidence():
    # six changes on six items: 2/64; on two items, three attacks each: both signs alike in 2 of 4 patterns
    assert sign_flip([1] * 6) == 2 / 64
    assert sign_flip([3, 3]) == 2 / 4


def test_sign_flip_of_many_items_neither_wraps_nor_underflows():
    assert sign_flip([2] * 500) == pytest.approx(2 / 2**500)
    assert sign_flip([2, -2] * 250) == pytest.approx(1.0)


def test_holm_multiplies_by_the_number_of_tests_that_are_left():
    # sorted 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])


def test_holm_of_one_test_changes_nothing_and_of_none_is_none():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match="p-values"):
        holm([0.5, bad])


def test_no_change_in_fifty_pairs_is_no_certainty_of_none():
    # two made-up pairs: variance 2/52, half = 1.96 * sqrt(2) / 52 = 0.0533
    assert adjusted_mean([0.0] * 50, (-1.0, 1.0)) == pytest.approx((0.0, -0.0533, 0.0533), abs=1e-4)


def test_the_adjusted_difference_of_a_two_by_two_table_is_bonett_and_prices():
    # 1 pair lost, 6 gained, 43 agree, and one made-up pair each way: shares 2/52 and 7/52, centre 5/52
    differences = [1.0] * 6 + [-1.0] + [0.0] * 43
    half = 1.959964 * math.sqrt((9 / 52 - (5 / 52) ** 2) / 52)
    assert adjusted_mean(differences, (-1.0, 1.0)) == pytest.approx((0.1, 5 / 52 - half, 5 / 52 + half), abs=1e-6)


def test_a_difference_outside_minus_one_to_one_is_refused():
    with pytest.raises(ValueError, match=r"\[-1.0, 1.0\]"):
        adjusted_mean([0.0, 1.5], (-1.0, 1.0))


@pytest.mark.parametrize(
    ("first", "second", "kappa"),
    [
        # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, chance 0.5*0.6 + 0.5*0.4 = 0.5
        ("y" * 25 + "n" * 25, "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15, 0.4),
        ("ynyn", "ynyn", 1.0),
        ("ynyn", "nyny", -1.0),
        ("yy", "yy", math.nan),  # raters who only ever say one word
    ],
)
def test_kappa_is_agreement_beyond_chance(first, second, kappa):
    assert cohen_kappa(first, second) == pytest.approx(kappa, nan_ok=True)


def test_agreement_is_counted_by_hand_and_a_kappa_that_is_not_defined_is_no_number():
    # chance: yes 2/4 * 3/4 + no 2/4 * 1/4 = 1/2; observed 3/4
    assert agreement("yynn", "yyyn") == {"n": 4, "agreed": 3, "kappa": 0.5}
    assert agreement_line(agreement("yynn", "yyyn")) == "3 of 4 alike, Cohen's kappa 0.500"
    assert agreement("yy", "yy") == {"n": 2, "agreed": 2, "kappa": None}
    assert agreement_line(agreement([], [])) == "0 of 0 alike, Cohen's kappa not defined"


@given(st.integers(0, 60), st.integers(0, 60))
def test_of_items_that_change_by_one_it_is_scipys_exact_binomial_test(only_a, only_b):
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert sign_flip([-1] * only_a + [1] * only_b) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_step_down_bonferroni_written_out(p_values):
    ordered = sorted(p_values)
    steps = [min(1.0, (len(ordered) - rank) * p) for rank, p in enumerate(ordered)]
    expected = [max(steps[: rank + 1]) for rank in range(len(steps))]
    assert sorted(holm(p_values)) == pytest.approx(expected)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=7))
def test_sign_flip_is_scipys_permutation_test(changes):
    done = scipy.stats.permutation_test(
        (changes,),
        lambda x, axis: abs(x.sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    )
    assert sign_flip(changes) == pytest.approx(done.pvalue)
