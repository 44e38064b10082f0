"""Rates of items and the Wilson interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cada_trl.statistics.bounded import Z_95


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
        """The share of asked items that were scored."""
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
