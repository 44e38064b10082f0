"""How well two sets of scores are separated (AUC, Youden's J), with intervals by the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
_RESAMPLES = 1000
_MAY_BE_BEST_SD = (
    2.0  # ours: by simulation the lowest at which J's interval holds the truth where nothing separates two sets
)


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
    """The same with 95 % intervals: what resamples differ by from what they are drawn of, taken from the value.

    Each side is drawn by itself, with one score more at each end of all scores: two sets that do not mix have an
    interval with a width, too (ours, after Agresti and Coull). J's threshold is chosen on the very scores, which lifts
    J. So its low end asks how far a resample rises at any threshold that may be the best, its high end how far it falls
    at the best one (after Chernozhukov, Lee and Rosen 2013). Errors: as auc_and_j.
    """
    auc, j = auc_and_j(high_n, low_n)
    rng, score_t = np.random.default_rng(seed), np.unique(np.concatenate([high_n, low_n]))
    (high_t, of_high_t, high_rt), (low_t, of_low_t, low_rt) = (_shares(n, score_t, rng) for n in (high_n, low_n))
    auc_r = _auc(high_rt, low_rt) - _auc(of_high_t, of_low_t)
    j_t, j_rt = np.cumsum(low_t - high_t), np.cumsum(low_rt - high_rt, axis=1) - np.cumsum(of_low_t - of_high_t)
    best = int(j_t.argmax())
    may_be_best_t = j_t >= j - _MAY_BE_BEST_SD * j_rt[:, best].std()
    rise, fall = np.quantile(j_rt[:, may_be_best_t].max(axis=1), 0.975), np.quantile(j_rt[:, best], 0.025)
    auc_ends, j_ends = auc - np.quantile(auc_r, [0.975, 0.025]), j - np.array([rise, fall])
    return Estimate(auc, *np.clip(auc_ends, 0, 1).tolist()), Estimate(j, *np.clip(j_ends, 0, 1).tolist())


def _shares(side_n: FloatArray, score_t: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, ...]:
    """The side's share at each score, the same with one more at each end, and of resamples of the latter: [r, t]."""
    n_scores, place_n = len(score_t), np.searchsorted(score_t, side_n)
    more_n = np.concatenate([place_n, [0, n_scores - 1]])
    drawn_rn = more_n[rng.integers(0, len(more_n), (_RESAMPLES, len(side_n)))]
    flat = np.bincount((drawn_rn + n_scores * np.arange(_RESAMPLES)[:, None]).ravel(), minlength=_RESAMPLES * n_scores)
    share_t, more_t = (np.bincount(n, minlength=n_scores) / len(n) for n in (place_n, more_n))
    return share_t, more_t, flat.reshape(_RESAMPLES, n_scores) / len(side_n)


def _auc(high: FloatArray, low: FloatArray) -> npt.NDArray[np.float64]:
    """Of shares at each score, over the last axis."""
    area: FloatArray = (high * (np.cumsum(low, axis=-1) - low / 2)).sum(axis=-1)
    return area
