"""Two runs on the same items: McNemar's test and intervals of the difference."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from cada_trl.statistics.bootstrap import Estimate, bootstrap_mean
from cada_trl.statistics.rates import Z_95


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test: pairs that changed are a fair coin where the two runs have one rate.

    only_a, only_b: pairs that succeeded in one run only; pairs that agree say nothing. 1.0 where no pair changed.
    Source: McNemar 1947 in its exact form, the binomial tail twice. Errors: ValueError for a negative count.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"expected counts of pairs, got {only_a} and {only_b}")
    n = only_a + only_b
    # whole numbers until the last division: no underflow for thousands of pairs
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def adjusted_difference(differences: Sequence[float]) -> Estimate:
    """Mean of one difference an item, each in [-1, 1], with the adjusted Wald 95 % interval of Bonett and Price (2012).

    Two made-up items, one at +1 and one at -1, enter the interval and not the value. So 0 changes in 50 pairs give
    [-0.053, 0.053] and not [0, 0]. The source has differences of -1, 0, 1; ours: the same sum for scores in between and
    for an item's mean over attacks, where it is wider than needed. Errors: ValueError for no difference, a NaN or one
    outside [-1, 1].
    """
    if not differences or not all(-1 <= one <= 1 for one in differences):
        raise ValueError("expected at least one difference and all in [-1, 1]: leave UNSCORED pairs out")
    total, n = math.fsum(differences), len(differences) + 2
    centre = total / n
    variance = (math.fsum(one * one for one in differences) + 2) / n - centre**2
    half = Z_95 * math.sqrt(variance / n)
    return Estimate(total / len(differences), max(-1.0, centre - half), min(1.0, centre + half))


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    n_resamples: int = 10_000,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Mean of after - before: items are resampled in pairs, so what they share widens nothing.

    clusters: one label a pair where several share a request (the attacks on one item): whole requests are resampled.
    Errors: ValueError for unequal lengths, no pairs or a NaN.
    """
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} values before and {len(after)} after; expected the same items in the same order"
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return bootstrap_mean(differences.tolist(), n_resamples, seed, clusters)
