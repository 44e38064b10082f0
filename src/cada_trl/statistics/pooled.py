"""The seeds' variance pooled over configurations that stand side by side: few seeds each, and still an interval.

Two seeds alone have one degree of freedom: 12.7 standard errors to either side. Ours: the pool assumes that the seeds
of each configuration spread alike, the price for reading two or three of them at all. A share near 0 or 1 has less room
to spread than the pool says, so that its interval errs to the wide side, and one in the middle to the narrow side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.statistics.bounded import Z_95
from cada_trl.statistics.student import t_95

MIN_DF = 4  # ours: t is 12.7, 4.3, 3.2, 2.8 for 1 to 4; from there on it falls slowly, to 2.0
UNBOUNDED = (-math.inf, math.inf)


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
    means = [math.fsum(seeds) / len(seeds) for seeds in several]
    squares = math.fsum((value - mean) ** 2 for seeds, mean in zip(several, means, strict=True) for value in seeds)
    return PooledSpread(len(several), df + len(several), df, math.sqrt(squares / df) if df else None)
