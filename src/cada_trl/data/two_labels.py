"""How far two independent labels of the same rows agree, as the manifest keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cada_trl.statistics.agreement import cohen_kappa


def agreement(first: Sequence[object], second: Sequence[object]) -> dict[str, Any]:
    """n, agreed and Cohen's kappa; kappa is None where it is not defined (no rows, or one answer only)."""
    kappa = cohen_kappa(first, second)
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    return {"n": len(first), "agreed": agreed, "kappa": None if math.isnan(kappa) else kappa}


def agreement_line(found: dict[str, Any]) -> str:
    """`2202 of 2420 alike, Cohen's kappa 0.892`."""
    kappa = "not defined" if found["kappa"] is None else f"{found['kappa']:.3f}"
    return f"{found['agreed']} of {found['n']} alike, Cohen's kappa {kappa}"
