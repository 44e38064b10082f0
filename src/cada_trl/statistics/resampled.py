"""How well two sets of scores are separated (AUC, Youden's J), with intervals by the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
_RESAMPLES_OF_AUC = 1000


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

    A resample takes its own best threshold, as the value does, which lifts J once more: its interval is too high, and
    leaves out 0 for nine pairs of 100 and 100 alike scores in ten. Errors: as auc_and_j.
    """
    values, rng = auc_and_j(high_n, low_n), np.random.default_rng(seed)
    draws = [side_n[rng.integers(0, len(side_n), (_RESAMPLES_OF_AUC, len(side_n)))] for side_n in (high_n, low_n)]
    ends = np.quantile([auc_and_j(*sides) for sides in zip(*draws, strict=True)], [0.025, 0.975], axis=0)
    auc, j = (Estimate(value, *map(float, its)) for value, its in zip(values, ends.T, strict=True))
    return auc, j
