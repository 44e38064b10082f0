"""Values of one set of items with their 95 % intervals: rates with Wilson's, means with the adjusted one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal


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
