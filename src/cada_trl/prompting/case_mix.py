"""Which of a hazard's cases a request is shown: the first ones, or a mix by the weights that a pack gives them.

Weights make a pack fit a domain: a clinic's pack weighs its own precedents higher (ours).
"""

from __future__ import annotations

import math

from cada_trl.errors import UserError
from cada_trl.hazards.pack import Case, Hazard
from cada_trl.storage.digest import sha256


def chosen_cases(hazard: Hazard, n_cases: int, request: str) -> tuple[Case, ...]:
    """n_cases cases in the pack's order. Equal weights: the first ones, the same for every request.

    Unequal ones: drawn without replacement, with a chance that grows with the weight and by a hash of the request, so
    that a request is always shown the same ones (Efraimidis and Spirakis 2006); weight 0 is never shown. Errors:
    UserError for a hazard with fewer cases to show.
    """
    shown = [case for case in hazard.cases if case.weight > 0]
    if n_cases > len(shown):
        raise UserError(
            f"n_cases={n_cases}, but hazard '{hazard.id}' has {len(shown)} cases; lower n_cases or add cases"
        )
    if len({case.weight for case in shown}) > 1:
        by_key = sorted(range(len(shown)), key=lambda index: _waiting_time(request, index, shown[index].weight))
        return tuple(shown[index] for index in sorted(by_key[:n_cases]))
    return tuple(shown[:n_cases])


def _waiting_time(request: str, index: int, weight: float) -> float:
    """Exponential with rate `weight`, from a hash: the smallest times are the weighted draw without replacement."""
    drawn = int(sha256(f"{index}:{request}")[:16], 16)
    uniform = (drawn + 1) / (2**64 + 1)
    return -math.log(uniform) / weight
