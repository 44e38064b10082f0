"""Intervals by the bootstrap: of a mean, and of how well two sets of scores are separated (AUC, Youden's J)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
_RESAMPLES_OF_AUC = 1000
_RESAMPLES_AT_ONCE = 200  # bounds the memory: 200 x n indices


def bootstrap_mean(values: Sequence[float], n_resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean with the percentile bootstrap's 95 % interval (Efron 1979); the same seed gives the same interval.

    For values without known ends: values that are all equal give no width, and few different ones too little; where
    the ends are known take adjusted_mean. Errors: ValueError for no values or a NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one value and no NaN: leave UNSCORED items out and report the coverage")
    rng = np.random.default_rng(seed)
    sizes = [min(_RESAMPLES_AT_ONCE, n_resamples - start) for start in range(0, n_resamples, _RESAMPLES_AT_ONCE)]
    means = np.concatenate([array[rng.integers(0, array.size, size=(size, array.size))].mean(axis=1) for size in sizes])
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(array.mean()), float(low), float(high))


def auc_and_j(high_n: FloatArray, low_n: FloatArray) -> tuple[float, float]:
    """How well scores order two sets, of which the first should score higher.

    AUC: the chance that one of the first scores above one of the second, a tie half (Hanley and McNeil 1982). J
    (Youden): the share of the first above the threshold less that of the second, at the best threshold for these very
    scores. Errors: ValueError for an empty side or a NaN.
    """
    score_n = np.concatenate([high_n, low_n])
    if not len(high_n) or not len(low_n) or np.isnan(score_n).any():
        raise ValueError("expected scores on both sides and no NaN")
    high_n, low_n = np.sort(high_n), np.sort(low_n)
    n_below_n = (np.searchsorted(low_n, high_n) + np.searchsorted(low_n, high_n, "right")) / 2  # a tie half
    high_frac_n, low_frac_n = (np.searchsorted(side_n, score_n, "right") / len(side_n) for side_n in (high_n, low_n))
    # at or below each score; J of a threshold above everything is 0, up to rounding
    return float(n_below_n.mean()) / len(low_n), max(0.0, float((low_frac_n - high_frac_n).max()))


def auc_and_j_intervals(high_n: FloatArray, low_n: FloatArray, seed: int = 0) -> tuple[Estimate, Estimate]:
    """The same with percentile bootstrap intervals: each side is drawn anew by itself, whatever the other side got.

    A resample takes its own best threshold, as the value does. Errors: as auc_and_j.
    """
    values, rng = auc_and_j(high_n, low_n), np.random.default_rng(seed)
    draws = [side_n[rng.integers(0, len(side_n), (_RESAMPLES_OF_AUC, len(side_n)))] for side_n in (high_n, low_n)]
    ends = np.quantile([auc_and_j(*sides) for sides in zip(*draws, strict=True)], [0.025, 0.975], axis=0)
    auc, j = (Estimate(value, *map(float, its)) for value, its in zip(values, ends.T, strict=True))
    return auc, j
