"""Uncertainty of rates and means: pure functions on numbers that were really scored.

UNSCORED items are left out by the caller and counted in Rate.asked; a NaN that arrives here raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal
_RESAMPLES_AT_ONCE = 200  # bounds the memory: 200 x n indices


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


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Agreement of two raters beyond chance (Cohen 1960): 1 perfect, 0 chance; NaN where chance is 1 or n is 0.

    Errors: ValueError for unequal lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"raters judged {len(first)} and {len(second)} items; expected the same items")
    n = len(first)
    if n == 0:
        return math.nan
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(list(first).count(label) * list(second).count(label) for label in set(first) | set(second)) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def bootstrap_mean(values: Sequence[float], n_resamples: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high) with the percentile bootstrap's 95 % interval; the same seed gives the same interval.

    Errors: ValueError for no values or a NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one value and no NaN: leave UNSCORED items out and report the coverage")
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            array[rng.integers(0, array.size, size=(min(_RESAMPLES_AT_ONCE, n_resamples - start), array.size))].mean(
                axis=1
            )
            for start in range(0, n_resamples, _RESAMPLES_AT_ONCE)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(array.mean()), float(low), float(high)


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], n_resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """(mean of after - before, low, high): items are resampled in pairs, so what they share widens nothing.

    Errors: ValueError for unequal lengths, no pairs or a NaN.
    """
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} values before and {len(after)} after; expected the same items in the same order"
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return bootstrap_mean(differences.tolist(), n_resamples, seed)


def mean(values: Sequence[float]) -> float | None:
    """Plain mean; None for no values, since an absent rate is not 0."""
    return sum(values) / len(values) if values else None
