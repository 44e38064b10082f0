"""Two runs on the same items: exact tests of a change, and intervals of the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cada_trl.statistics.bootstrap import bootstrap_mean
from cada_trl.statistics.bounded import Estimate, adjusted_mean


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test: pairs that changed are a fair coin where the two runs have one rate.

    only_a, only_b: pairs that succeeded in one run only; pairs that agree say nothing. 1.0 where no pair changed.
    Source: McNemar 1947 in its exact form, the binomial tail twice. Errors: ValueError for a negative count.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"expected counts of pairs, got {only_a} and {only_b}")
    n = only_a + only_b
    # whole numbers until the last division: no rounding adds up over thousands of pairs
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def sign_flip(changes: Sequence[int]) -> float:
    """Two-sided p of the exact sign-flip test: McNemar's test where several pairs share one item.

    changes: one number an item, its successes in run b less those in run a (over the attacks on it). Where the runs are
    alike each item's change is as likely with the other sign, whatever its size; p is the share of all sign patterns
    with a sum at least as far from 0. Items that change by 1 give McNemar's p. Source: Fisher's randomisation test
    (1935); Durkalski et al. (2003) have the large-sample form for clustered pairs.
    """
    sizes = [abs(change) for change in changes if change]
    most = sum(sizes)
    share = np.zeros(2 * most + 1)  # share[most + s]: of sign patterns with sum s
    share[most] = 1.0
    for size in sizes:
        share = (np.roll(share, size) + np.roll(share, -size)) / 2  # nothing wraps: the ends stay 0 until the last
    distance = abs(np.arange(-most, most + 1))
    return min(1.0, float(share[distance >= abs(sum(changes))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in the given order: below 0.05 holds for all of them at once.

    Source: Holm (1979), the step-down Bonferroni; valid however the tests depend on each other. Errors: ValueError for
    a value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"expected p-values in [0, 1], got {list(p_values)}")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def adjusted_difference(differences: Sequence[float]) -> Estimate:
    """Mean of one difference an item, each in [-1, 1], with the 95 % interval of Bonett and Price (2012).

    Where several attacks share an item its difference is the mean over them: items are independent, attempts are not.
    0 changes in 50 pairs give [-0.053, 0.053] and not [0, 0]. Errors: ValueError as adjusted_mean.
    """
    return adjusted_mean(differences, (-1.0, 1.0))


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], n_resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Mean of after - before, for values without known ends: items are resampled in pairs, as in bootstrap_mean.

    Errors: ValueError for unequal lengths, no pairs or a NaN.
    """
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} values before and {len(after)} after; expected the same items in the same order"
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return bootstrap_mean(differences.tolist(), n_resamples, seed)
