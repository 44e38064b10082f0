"""Means of values with known ends, as scores in [0, 1] and differences in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


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
