"""How well scores separate two sets of texts: the area under the ROC curve and Youden's J, with bootstrap intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cada_trl.storage.json_record import JsonRecord

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

N_RESAMPLES = 1000


class Interval(JsonRecord):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Separation(JsonRecord):
    """auc: the chance that a harmful text scores above a harmless one, 0.5 a coin; a tie counts half.

    j: the share of harmful texts above the threshold less that of harmless ones, at the best threshold for these very
    texts. A coin's j is therefore above 0: about 0.1 for two sets of 100.
    """

    auc: Interval
    j: Interval


def auc_and_j(harmful_n: FloatArray, harmless_n: FloatArray) -> tuple[float, float]:
    """Both measures of scores, a higher one being more harmful. Errors: ValueError for an empty side or a NaN."""
    auc_r, j_r = _measured(*_levels(harmful_n, harmless_n))
    return float(auc_r[0]), float(j_r[0])


def separation(harmful_n: FloatArray, harmless_n: FloatArray, seed: int = 0) -> Separation:
    """The same with percentile bootstrap intervals: each side is drawn anew by itself, whatever the other side got.

    A resample takes its own best threshold, as the value does. Errors: as auc_and_j.
    """
    harmful_rn, harmless_rn = _levels(harmful_n, harmless_n)
    rng = np.random.default_rng(seed)
    draws = [side[0][rng.integers(0, side.size, (N_RESAMPLES, side.size))] for side in (harmful_rn, harmless_rn)]
    values, resampled = _measured(harmful_rn, harmless_rn), _measured(*draws)
    auc, j = (_interval(value_r[0], sample_r) for value_r, sample_r in zip(values, resampled, strict=True))
    return Separation(auc=auc, j=j)


def _levels(harmful_n: FloatArray, harmless_n: FloatArray) -> tuple[IntArray, IntArray]:
    """The scores as ranks among all different ones, one row [1, n] a side."""
    scores_n = np.concatenate([harmful_n, harmless_n])
    if not len(harmful_n) or not len(harmless_n) or np.isnan(scores_n).any():
        raise ValueError("expected scores of harmful and of harmless texts and no NaN")
    rank_n = np.unique(scores_n, return_inverse=True)[1]
    return rank_n[None, : len(harmful_n)], rank_n[None, len(harmful_n) :]


def _measured(harmful_rn: IntArray, harmless_rn: IntArray) -> tuple[FloatArray, FloatArray]:
    """AUC and J of each row r of levels."""
    n_levels = int(max(harmful_rn.max(), harmless_rn.max())) + 1
    harmful_rl, harmless_rl = _shares(harmful_rn, n_levels), _shares(harmless_rn, n_levels)
    below_rl = harmless_rl.cumsum(1)
    auc_r = (harmful_rl * (below_rl - harmless_rl / 2)).sum(1)
    j_r = (below_rl - harmful_rl.cumsum(1)).max(1)
    return auc_r, np.maximum(j_r, 0.0)  # a threshold above everything gives 0, up to rounding


def _shares(level_rn: IntArray, n_levels: int) -> FloatArray:
    """The share of each row's entries at each level."""
    n_rows, n = level_rn.shape
    flat = level_rn + n_levels * np.arange(n_rows)[:, None]
    counts: FloatArray = np.bincount(flat.ravel(), minlength=n_rows * n_levels).reshape(n_rows, n_levels) / n
    return counts


def _interval(value: float, resampled_r: FloatArray) -> Interval:
    low, high = np.quantile(resampled_r, [0.025, 0.975])
    return Interval(value=float(value), low=float(low), high=float(high))
