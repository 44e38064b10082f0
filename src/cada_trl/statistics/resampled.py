"""Intervals by the bootstrap: of a mean, and of how well two sets of scores are separated (AUC, Youden's J)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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
    auc_r, j_r = _auc_and_j(*_levels(high_n, low_n))
    return float(auc_r[0]), float(j_r[0])


def auc_and_j_intervals(high_n: FloatArray, low_n: FloatArray, seed: int = 0) -> tuple[Estimate, Estimate]:
    """The same with percentile bootstrap intervals: each side is drawn anew by itself, whatever the other side got.

    A resample takes its own best threshold, as the value does. Errors: as auc_and_j.
    """
    sides = _levels(high_n, low_n)
    rng = np.random.default_rng(seed)
    draws = [side_rn[0][rng.integers(0, side_rn.size, (_RESAMPLES_OF_AUC, side_rn.size))] for side_rn in sides]
    ends = [np.quantile(resampled_r, [0.025, 0.975]) for resampled_r in _auc_and_j(*draws)]
    auc, j = (
        Estimate(value, float(low), float(high))
        for value, (low, high) in zip(auc_and_j(high_n, low_n), ends, strict=True)
    )
    return auc, j


def _levels(high_n: FloatArray, low_n: FloatArray) -> tuple[IntArray, IntArray]:
    """The scores as ranks among all different ones, one row [1, n] per side."""
    scores_n = np.concatenate([high_n, low_n])
    if not len(high_n) or not len(low_n) or np.isnan(scores_n).any():
        raise ValueError("expected scores on both sides and no NaN")
    rank_n = np.unique(scores_n, return_inverse=True)[1]
    return rank_n[None, : len(high_n)], rank_n[None, len(high_n) :]


def _auc_and_j(high_rn: IntArray, low_rn: IntArray) -> tuple[FloatArray, FloatArray]:
    """AUC and J of each row r of levels."""
    n_levels = int(max(high_rn.max(), low_rn.max())) + 1
    high_rl, low_rl = _shares(high_rn, n_levels), _shares(low_rn, n_levels)
    below_rl = low_rl.cumsum(1)
    j_r = (below_rl - high_rl.cumsum(1)).max(1)
    # J of a threshold above everything is 0, up to rounding
    return (high_rl * (below_rl - low_rl / 2)).sum(1), np.maximum(j_r, 0.0)


def _shares(level_rn: IntArray, n_levels: int) -> FloatArray:
    """The share of each row's entries at each level."""
    n_rows, n = level_rn.shape
    flat = level_rn + n_levels * np.arange(n_rows)[:, None]
    counts: FloatArray = np.bincount(flat.ravel(), minlength=n_rows * n_levels).reshape(n_rows, n_levels) / n
    return counts
