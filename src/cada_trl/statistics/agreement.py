"""Agreement of two raters."""

from __future__ import annotations

import math
from collections.abc import Sequence


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
