"""Several seeds of one configuration on the same items: mean, standard deviation, hierarchical interval.

Two seeds alone have one degree of freedom: 12.7 standard errors to either side. So the seeds' variance can be pooled
over configurations that stand side by side; ours, since it assumes that the seeds of each spread alike, the price for
reading two or three of them at all. A share near 0 or 1 has less room to spread than the pool says, so that its
interval errs to the wide side, and one in the middle to the narrow side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from cada_trl.statistics.intervals import Z_95, centre_and_error

MIN_DF = 4  # ours: t is 12.7, 4.3, 3.2, 2.8 for 1 to 4; from there on it falls slowly, to 2.0
UNBOUNDED = (-math.inf, math.inf)
# two-sided 95 % quantiles with 1, 2, ... degrees of freedom
_T_95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


def t_95(df: int) -> float:
    """The quantile; beyond 30 degrees of freedom that of 30, which is wide enough. Errors: ValueError below one."""
    if df < 1:
        raise ValueError(f"expected at least one degree of freedom, got {df}")
    return _T_95[min(df, len(_T_95)) - 1]


@dataclass(frozen=True)
class PooledSpread:
    """n_configurations: those with two seeds or more; n_seeds: theirs. sd: of one seed, None where there are none."""

    n_configurations: int
    n_seeds: int
    df: int
    sd: float | None

    @property
    def informative(self) -> bool:
        """Whether there are degrees of freedom enough for an interval; without them seeds are shown alone."""
        return self.df >= MIN_DF

    def margin(self, n_seeds: int) -> float:
        """t(df) s / sqrt(n_seeds): the seeds' part of a mean's half width. Errors: ValueError where not informative."""
        if self.sd is None or not self.informative:
            raise ValueError(f"expected at least {MIN_DF} degrees of freedom, got {self.df}: show the seeds alone")
        return t_95(self.df) * self.sd / math.sqrt(n_seeds)

    def interval(
        self, centre: float, n_seeds: int, ends: tuple[float, float] = (0.0, 1.0), item_error: float = 0.0
    ) -> tuple[float, float] | None:
        """95 % interval of the mean over n_seeds (one seed borrows the spread of the others), cut to the ends.

        item_error: standard error from the items, added in squares (as across_seeds); 0: the interval holds for further
        seeds on these very items. None where not informative, and where nothing spreads: no width is no certainty.
        """
        half = math.hypot(self.margin(n_seeds), Z_95 * item_error) if self.informative else 0.0
        return (max(ends[0], centre - half), min(ends[1], centre + half)) if half > 0 else None


def pooled_spread(configurations: Sequence[Sequence[float]]) -> PooledSpread:
    """Pool s^2 = sum (n_i - 1) s_i^2 / sum (n_i - 1). configurations: the values of each one's seeds.

    A configuration with one seed adds nothing. Errors: ValueError for a value that is not finite.
    """
    if not all(math.isfinite(value) for seeds in configurations for value in seeds):
        raise ValueError("expected finite values: leave out seeds without a number")
    several = [seeds for seeds in configurations if len(seeds) > 1]
    df = sum(len(seeds) - 1 for seeds in several)
    squares = math.fsum((len(seeds) - 1) * variance(seeds) for seeds in several)  # exact: alike seeds have none
    return PooledSpread(len(several), df + len(several), df, math.sqrt(squares / df) if df else None)


@dataclass(frozen=True)
class AcrossSeeds:
    """per_seed: each seed's mean; sd over them (n - 1). sd, low and high are None below two seeds: no spread is known.

    low, high: 95 % interval for the mean of further seeds on further items of the same kind.
    """

    per_seed: list[float]
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def across_seeds(values_si: Sequence[Sequence[float]]) -> AcrossSeeds:
    """Summarise values [seeds, items] in [0, 1]; column i is the same item in every seed.

    The interval adds two levels. Items: the adjusted error of the items' means over seeds (adjusted_mean), once for all
    seeds, which share them; drawing items anew inside each seed would count one hard item as several. Seeds: Student's
    t on the sd of their means; ours, since resampling S seeds cannot leave [lowest, highest], which covers
    1 - 2^(1-S): 75 % for three. Both levels hold the noise of a single answer, so the interval errs to the wide side.
    Errors: ValueError for no values, a NaN, a value outside [0, 1] or seeds with different numbers of items.
    """
    mean_i, means = _item_means(values_si), [fmean(row) for row in values_si]
    mean, sd = fmean(means), stdev(means) if len(means) > 1 else None
    centre, error = centre_and_error(mean_i, (0.0, 1.0))
    if sd is None:
        return AcrossSeeds(means, mean, None, None, None)
    half = math.hypot(Z_95 * error, _margin(means, len(means)))
    return AcrossSeeds(means, mean, sd, max(0.0, centre - half), min(1.0, centre + half))


def difference_across_seeds(
    before_si: Sequence[Sequence[float]],
    after_si: Sequence[Sequence[float]],
    pooled: PooledSpread | None = None,
    trained: tuple[bool, bool] = (True, True),
) -> tuple[float, float | None, float | None]:
    """Difference of the two sides' means over seeds; values [seeds, items] in [0, 1], the same items on both sides.

    With its 95 % interval, None where the pool is too small for one. Items: the adjusted error of each item's change of
    means over seeds, so that what the sides share widens nothing; of one seed on each side that is all (adjusted_mean).
    Seeds: Student's t of each side that has two or more, independent of each other (equal seeds of two configurations
    share no noise that could be paired). pooled: the spread over all configurations that stand side by side, in place
    of each side's own. A trained side with one seed borrows it, or else the other side's, and one that was not trained
    here has none: the interval then holds for that very model. The parts are independent and added in squares (MOVER,
    Zou and Donner 2008). Errors: ValueError as across_seeds.
    """
    before_i, after_i = _item_means(before_si), _item_means(after_si)
    if len(before_i) != len(after_i):
        raise ValueError(f"{len(before_i)} items before and {len(after_i)} after; expected the same items")
    changes_i = [new - old for old, new in zip(before_i, after_i, strict=True)]
    sides = [[fmean(row) for row in side] for side in (before_si, after_si)]
    if pooled is not None and not pooled.informative:
        return fmean(changes_i), None, None
    if pooled is None:
        lender = max(sides, key=len)
        spreads = [lender if own and len(means) == 1 else means for means, own in zip(sides, trained, strict=True)]
        margins = [_margin(spread, len(means)) for means, spread in zip(sides, spreads, strict=True) if len(spread) > 1]
    else:
        margins = [pooled.margin(len(means)) for means, own in zip(sides, trained, strict=True) if own]
    centre, error = centre_and_error(changes_i, (-1.0, 1.0))
    half = math.hypot(Z_95 * error, *margins)
    return fmean(changes_i), max(-1.0, centre - half), min(1.0, centre + half)


def _margin(means: Sequence[float], n_seeds: int) -> float:
    """The seeds' part of the half width of a mean over n_seeds that spread as these means do."""
    return t_95(len(means) - 1) * stdev(means) / math.sqrt(n_seeds)


def _item_means(values_si: Sequence[Sequence[float]]) -> list[float]:
    """The mean of each item over seeds."""
    if not values_si or len({len(row) for row in values_si}) != 1:
        raise ValueError("expected at least one seed, and the same items in every seed")
    if not values_si[0] or any(math.isnan(value) for row in values_si for value in row):
        raise ValueError("expected at least one item and no NaN: leave out items UNSCORED in any seed")
    return [fmean(column) for column in zip(*values_si, strict=True)]
