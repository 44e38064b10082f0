"""Agreement of two raters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


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


def agreement(first: Sequence[object], second: Sequence[object]) -> dict[str, Any]:
    """For a manifest: n, agreed and Cohen's kappa, None where it is not defined (no rows, or one answer only)."""
    kappa = cohen_kappa(first, second)
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    return {"n": len(first), "agreed": agreed, "kappa": None if math.isnan(kappa) else kappa}


def agreement_line(found: Mapping[str, Any]) -> str:
    """`2202 of 2420 alike, Cohen's kappa 0.892`."""
    kappa = "not defined" if found["kappa"] is None else f"{found['kappa']:.3f}"
    return f"{found['agreed']} of {found['n']} alike, Cohen's kappa {kappa}"
