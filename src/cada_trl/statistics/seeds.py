"""Several seeds of one configuration on the same items: mean, standard deviation, hierarchical interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cada_trl.statistics.bounded import Z_95, centre_and_error
from cada_trl.statistics.pooled import PooledSpread
from cada_trl.statistics.student import t_95

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AcrossSeeds:
    """per_seed: each seed's mean; sd over them (n - 1). sd, low and high are None below two seeds: no spread is known.

    low, high: 95 % interval for the mean of further seeds on further items of the same kind.
    """

    per_seed: list[float]
    n_items: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SeedDifference:
    """mean(after) - mean(before) with its 95 % interval, None where the pool is too small for one.

    A side with one seed brings no spread of its own, unless it borrows: the interval then holds for that very model, as
    for a base model that was never trained here.
    """

    before: AcrossSeeds
    after: AcrossSeeds
    difference: float
    low: float | None
    high: float | None


def across_seeds(values_si: Sequence[Sequence[float]], ends: tuple[float, float] = (0.0, 1.0)) -> AcrossSeeds:
    """Summarise values [seeds, items] that lie in [ends]; column i is the same item in every seed.

    The interval adds two levels. Items: the adjusted error of the items' means over seeds (adjusted_mean), once for all
    seeds, which share them; drawing items anew inside each seed would count one hard item as several. Seeds: Student's
    t on the sd of their means; ours, since resampling S seeds cannot leave [lowest, highest], which covers
    1 - 2^(1-S): 75 % for three. Both levels hold the noise of a single answer, so the interval errs to the wide side.
    Errors: ValueError for no values, a NaN, a value outside the ends or seeds with different numbers of items.
    """
    array = _checked(values_si)
    means = array.mean(axis=1)
    mean, sd = float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else None
    centre, error = centre_and_error(array.mean(axis=0).tolist(), ends)
    if sd is None:
        return AcrossSeeds(means.tolist(), array.shape[1], mean, None, None, None)
    half = math.hypot(Z_95 * error, _own_margin(means))
    return AcrossSeeds(
        means.tolist(), array.shape[1], mean, sd, max(ends[0], centre - half), min(ends[1], centre + half)
    )


def difference_across_seeds(
    before_si: Sequence[Sequence[float]],
    after_si: Sequence[Sequence[float]],
    pooled: PooledSpread | None = None,
    trained: tuple[bool, bool] = (True, True),
) -> SeedDifference:
    """Difference of the two sides' means over seeds; values [seeds, items] in [0, 1], the same items on both sides.

    Items: the adjusted error of each item's difference of means over seeds, so that what the sides share widens
    nothing. Seeds: Student's t of each side that has two or more, independent of each other (equal seeds of two
    configurations share no noise that could be paired). pooled: the spread over all configurations that stand side by
    side, in place of each side's own; a trained side with one seed borrows it, and one that was not trained here has
    none. The parts are independent and added in squares (MOVER, Zou and Donner 2008). Errors: ValueError as
    across_seeds, and without a pool for one seed on both sides, where adjusted_difference is the interval.
    """
    before, after = _checked(before_si), _checked(after_si)
    if before.shape[1] != after.shape[1]:
        raise ValueError(f"{before.shape[1]} items before and {after.shape[1]} after; expected the same items")
    means = [side.mean(axis=1) for side in (before, after)]
    if pooled is None and max(map(len, means)) == 1:
        raise ValueError("one seed on both sides: take adjusted_difference")
    sides = across_seeds(before_si), across_seeds(after_si)
    difference = sides[1].mean - sides[0].mean
    if pooled is not None and not pooled.informative:
        return SeedDifference(*sides, difference, None, None)
    if pooled is None:
        margins = [_own_margin(side) for side in means if len(side) > 1]
    else:
        margins = [pooled.margin(len(side)) for side, own in zip(means, trained, strict=True) if own]
    centre, error = centre_and_error((after.mean(axis=0) - before.mean(axis=0)).tolist(), (-1.0, 1.0))
    half = math.hypot(Z_95 * error, *margins)
    return SeedDifference(*sides, difference, max(-1.0, centre - half), min(1.0, centre + half))


def _own_margin(means: FloatArray) -> float:
    return t_95(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))


def _checked(values_si: Sequence[Sequence[float]]) -> FloatArray:
    if not values_si or len({len(row) for row in values_si}) != 1:
        raise ValueError("expected at least one seed, and the same items in every seed")
    array = np.asarray(values_si, dtype=np.float64)
    if array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one item and no NaN: leave out items UNSCORED in any seed")
    return array
