"""The percentile bootstrap of a mean, over items or over clusters of items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.rates import wilson

_RESAMPLES_AT_ONCE = 200  # bounds the memory: 200 x n indices

FloatArray = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float],
    n_resamples: int = 10_000,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Mean with the percentile bootstrap's 95 % interval; the same seed gives the same interval.

    clusters: one label a value; whole clusters are resampled (the cluster bootstrap, Davison and Hinkley 1997, section
    3.8), so that values of one cluster may depend on each other. Values that are all equal give no width: such an
    interval says nothing, see bounded_mean. Errors: ValueError for no values, a NaN or unequal lengths.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one value and no NaN: leave UNSCORED items out and report the coverage")
    if clusters is None:
        means = resampled_means(array, n_resamples, np.random.default_rng(seed))
    else:
        sums, sizes = cluster_sums(array, clusters)
        means = resampled_means(sums, n_resamples, np.random.default_rng(seed), sizes)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(array.mean()), float(low), float(high))


def bounded_mean(scores: Sequence[float], n_resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of scores in [0, 1]: bootstrap_mean, and the Wilson interval of the mean where all scores are equal.

    Ours: resampling 313 zeros gives [0, 0], which would claim certainty; Wilson's [0, 0.012] is valid and conservative
    for any score in [0, 1]. Errors: ValueError as bootstrap_mean, and for a score outside [0, 1].
    """
    estimate = bootstrap_mean(scores, n_resamples, seed)
    if not all(0 <= score <= 1 for score in scores):
        raise ValueError(f"expected scores in [0, 1], got {min(scores)} to {max(scores)}")
    if len(set(scores)) > 1:
        return estimate
    return Estimate(scores[0], *wilson(scores[0] * len(scores), len(scores)))


def cluster_sums(values: FloatArray, clusters: Sequence[Hashable]) -> tuple[FloatArray, FloatArray]:
    """(sum, size) of each cluster, in the order of first appearance. Errors: ValueError for unequal lengths."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} cluster labels; expected one label a value")
    place = {label: index for index, label in enumerate(dict.fromkeys(clusters))}
    indices = [place[label] for label in clusters]
    return np.bincount(indices, weights=values), np.bincount(indices).astype(np.float64)


def resampled_means(
    sums: FloatArray, n_resamples: int, rng: np.random.Generator, sizes: FloatArray | None = None
) -> FloatArray:
    """Means of resamples with replacement; with sizes, each the drawn clusters' sum over their number of values."""
    means = []
    for start in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        drawn = rng.integers(0, sums.size, size=(min(_RESAMPLES_AT_ONCE, n_resamples - start), sums.size))
        total = sums[drawn].mean(axis=1)
        means.append(total if sizes is None else total / sizes[drawn].mean(axis=1))
    return np.concatenate(means)
