"""Values of one set of items, or of two, with their 95 % intervals.

Of one: rates with Wilson's interval, means with the adjusted one or the bootstrap's. Of two sets of scores: how well
they are separated, by the area under the ROC curve and Youden's J.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal
_RESAMPLES_OF_AUC = 1000
_RESAMPLES_AT_ONCE = 200  # bounds the memory: 200 x n indices


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """successes out of n scored items, of asked items in all; rates are fractions in [0, 1], NaN where n is 0."""

    successes: int
    n: int
    asked: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n <= self.asked:
            raise ValueError(f"expected 0 <= successes <= n <= asked, got {self.successes}, {self.n}, {self.asked}")

    @classmethod
    def of(cls, outcomes: Iterable[bool | None]) -> Rate:
        """Count outcomes; None is an item that was asked and not scored."""
        listed = list(outcomes)
        scored = [outcome for outcome in listed if outcome is not None]
        return cls(sum(scored), len(scored), len(listed))

    @property
    def value(self) -> float:
        return self.successes / self.n if self.n else math.nan

    @property
    def coverage(self) -> float:
        return self.n / self.asked if self.asked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 % interval."""
        return wilson(self.successes, self.n)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson score 95 % interval of a binomial rate (Wilson 1927); (0, 1) where n is 0: nothing is known.

    Errors: ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # the ends are exact at the borders, where rounding would leave 1e-17
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mean(values: Sequence[float]) -> float | None:
    """Plain mean; None for no values, since an absent rate is not 0."""
    return sum(values) / len(values) if values else None


def adjusted_mean(values: Sequence[float], ends: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Mean of values in [ends] with the adjusted Wald 95 % interval, cut off at the ends.

    Two made-up values, one at each end, enter the interval and not the mean: 313 scores of 0 give [0, 0.009], where
    resampling or the plain Wald interval give [0, 0] and claim certainty. Source: for differences of paired yes-or-no
    outcomes Bonett and Price (2012); for each sample of yes-or-no outcomes Agresti and Caffo (2000); ours: the same for
    scores in between. Errors: ValueError as centre_and_error.
    """
    centre, error = centre_and_error(values, ends)
    half = Z_95 * error
    return Estimate(math.fsum(values) / len(values), max(ends[0], centre - half), min(ends[1], centre + half))


def centre_and_error(values: Sequence[float], ends: tuple[float, float]) -> tuple[float, float]:
    """(mean, its standard error) of the values and one made-up value at each end; the error is never 0.

    Errors: ValueError for no values, a NaN or a value outside the ends.
    """
    low, high = ends
    if len(values) == 0 or not all(low <= value <= high for value in values):
        raise ValueError(f"expected at least one value and all in [{low}, {high}]: leave UNSCORED items out")
    n = len(values) + 2
    centre = (math.fsum(values) + low + high) / n
    squares = math.fsum((value - centre) ** 2 for value in values) + (low - centre) ** 2 + (high - centre) ** 2
    return centre, math.sqrt(squares) / n


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
