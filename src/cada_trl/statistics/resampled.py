"""How well two sets of scores are separated (AUC, Youden's J), with intervals by the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_RESAMPLES = 1000
# Ours: with 1, J's interval lost a true J of 0 in 5 to 7 of 100 simulated pairs of sets, with 2 in 1 to 4.
_MAY_BE_BEST_SD = 2.0


def auc_and_j(high_n: FloatArray, low_n: FloatArray) -> tuple[float, float]:
    """How well scores order two sets, of which the first should score higher.

    AUC: the chance that one of the first scores above one of the second, a tie half (Hanley and McNeil 1982). J
    (Youden): the share of the first above the threshold less that of the second, at the best threshold for these very
    scores. Errors: ValueError for an empty side or a NaN.
    """
    auc, j_t = _auc_and_j_t(*(np.bincount(n, minlength=n_scores) for n, n_scores in _places(high_n, low_n)))
    return float(auc), max(0.0, float(j_t.max()))  # of a threshold above everything J is 0


def auc_and_j_intervals(high_n: FloatArray, low_n: FloatArray, seed: int = 0) -> tuple[Estimate, Estimate]:
    """The same with 95 % intervals: what resamples differ by from what they are drawn of, taken from the value.

    Each side is drawn by itself, with one score more at each end of all scores: two sets that do not mix have an
    interval with a width, too (ours, after Agresti and Coull). J's threshold is chosen on the very scores, which lifts
    J. So its low end asks how far a resample rises at any threshold that may be the best, its high end how far it falls
    at the best one (after Chernozhukov, Lee and Rosen 2013). Errors: as auc_and_j.
    """
    rng, sides = np.random.default_rng(seed), _places(high_n, low_n)
    auc, j_t = _auc_and_j_t(*(np.bincount(n, minlength=n_scores) for n, n_scores in sides))
    drawn_of, drawn = zip(*(_resampled(n, n_scores, rng) for n, n_scores in sides), strict=True)
    (of_auc, of_j_t), (auc_r, j_rt) = _auc_and_j_t(*drawn_of), _auc_and_j_t(*drawn)
    off_rt, best = j_rt - of_j_t, int(j_t.argmax())
    j = max(0.0, float(j_t[best]))
    may_be_best_t = j_t >= j - _MAY_BE_BEST_SD * off_rt[:, best].std()
    rise, fall = np.quantile(off_rt[:, may_be_best_t].max(axis=1), 0.975), np.quantile(off_rt[:, best], 0.025)
    if j == 0:  # of a threshold beyond all scores, which never varies: another one may be better in truth
        fall = (np.quantile(off_rt, 0.025, axis=0) - j_t).min()
    auc_ends, j_ends = auc - np.quantile(auc_r - of_auc, [0.975, 0.025]), j - np.array([rise, fall])
    return Estimate(float(auc), *np.clip(auc_ends, 0, 1).tolist()), Estimate(j, *np.clip(j_ends, 0, 1).tolist())


def _places(*sides: FloatArray) -> list[tuple[IntArray, int]]:
    """Of each side the place of its scores among all different ones, and how many these are."""
    every = np.concatenate(sides)
    if not all(map(len, sides)) or np.isnan(every).any():
        raise ValueError("expected scores on both sides and no NaN")
    score_t = np.unique(every)
    return [(np.searchsorted(score_t, side), len(score_t)) for side in sides]


def _resampled(place_n: IntArray, n_scores: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """How often each score stands in the side with one more at each end, and in resamples of it: [r, t]."""
    more_n = np.concatenate([place_n, [0, n_scores - 1]])
    drawn_rn = more_n[rng.integers(0, len(more_n), (_RESAMPLES, len(place_n)))]
    flat = np.bincount((drawn_rn + n_scores * np.arange(_RESAMPLES)[:, None]).ravel(), minlength=_RESAMPLES * n_scores)
    return np.bincount(more_n, minlength=n_scores), flat.reshape(_RESAMPLES, n_scores)


def _auc_and_j_t(high_t: IntArray, low_t: IntArray) -> tuple[FloatArray, FloatArray]:
    """Of how often each score stands in each side, over the last axis: AUC, and J with the threshold at each score."""
    n_high, n_low = high_t.sum(-1, keepdims=True), low_t.sum(-1, keepdims=True)
    below_t = np.cumsum(low_t, axis=-1)
    auc = (high_t * (2 * below_t - low_t)).sum(-1) / (2 * n_high * n_low)[..., 0]
    return auc, below_t / n_low - np.cumsum(high_t, axis=-1) / n_high
