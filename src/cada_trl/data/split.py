"""Train, probe and held-out hazards, drawn by a hash of seed and text: the input's order decides nothing.

The probe is drawn before train, so that a larger n_train never changes the probe.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from cada_trl.config import DataConfig
from cada_trl.data.normalise import normalise
from cada_trl.errors import UserError
from cada_trl.records import Request


@dataclass(frozen=True)
class Split:
    """Harmful requests, no text in two parts."""

    train: list[Request]
    probe: list[Request]
    held_out: list[Request]


def draw(seed: int, text: str) -> str:
    """The text's place in the seed's random order: SHA-256 (hex) of the seed and the comparison form."""
    return hashlib.sha256(f"{seed}:{normalise(text)}".encode()).hexdigest()


def split_harmful(requests: Collection[Request], data: DataConfig, seed: int) -> Split:
    """Split harmful requests. natural: at random (paper, Data); stratified: as even over hazards as the counts allow.

    Errors: UserError when there are fewer than n_probe + n_train requests outside the held-out hazards.
    """
    n_train, n_probe, held_out_hazards = data.n_train, data.n_probe, data.held_out_hazards
    ordered = sorted(requests, key=lambda request: draw(seed, request.text))
    held_out = [request for request in ordered if request.hazard in held_out_hazards]
    pool = [request for request in ordered if request.hazard not in held_out_hazards]
    if len(pool) < n_train + n_probe:
        largest = len(pool) - n_probe
        advice = f"the largest n_train is {largest}" if largest > 0 else f"lower n_probe below {len(pool)} as well"
        raise UserError(
            f"n_train={n_train} and n_probe={n_probe} need {n_train + n_probe} requests; "
            f"{len(pool)} are left ({len(held_out)} held out); {advice}"
        )
    if data.sampling == "natural":
        return Split(pool[n_probe : n_probe + n_train], pool[:n_probe], held_out)
    counts = Counter(request.hazard for request in pool)
    # The probe takes at most its share of each hazard: an even draw alone would leave train without the rare ones.
    shares = {hazard: -(-n * n_probe // (n_probe + n_train)) for hazard, n in counts.items()}
    probe = _take(pool, even_quotas(shares, n_probe))
    rest = [request for request in pool if request not in set(probe)]
    train = _take(rest, even_quotas(Counter(request.hazard for request in rest), n_train))
    return Split(train, probe, held_out)


def split_harmless(
    requests: Collection[Request], held_out_hazards: Collection[str], seed: int
) -> tuple[list[Request], list[Request]]:
    """Harmless look-alikes -> (two thirds to train on, one third to probe with), hazard by hazard.

    Look-alikes of held-out hazards go to the probe only: those hazards are never trained on in any form.
    """
    by_hazard: defaultdict[str, list[Request]] = defaultdict(list)
    for request in sorted(requests, key=lambda request: draw(seed, request.text)):
        by_hazard[request.hazard].append(request)
    train, probe = [], []
    for hazard, rows in sorted(by_hazard.items()):
        n_probe = len(rows) if hazard in held_out_hazards else -(-len(rows) // 3)
        probe += rows[:n_probe]
        train += rows[n_probe:]
    return _in_drawn_order(train, seed), _in_drawn_order(probe, seed)


def even_quotas(counts: dict[str, int], n: int) -> dict[str, int]:
    """How many of each name to take so that they sum to n, as even as the counts allow.

    Fills from the rarest name up; a remainder goes to the names with the most rows. Needs sum(counts) >= n.
    """
    quotas: dict[str, int] = {}
    left = n
    ascending = sorted(counts, key=lambda name: (counts[name], name))
    for i, name in enumerate(ascending):
        quotas[name] = min(counts[name], left // (len(ascending) - i))
        left -= quotas[name]
    return quotas


def _take(ordered: list[Request], quotas: dict[str, int]) -> list[Request]:
    left = dict(quotas)
    taken = []
    for request in ordered:
        if left[request.hazard] > 0:
            left[request.hazard] -= 1
            taken.append(request)
    return taken


def _in_drawn_order(requests: list[Request], seed: int) -> list[Request]:
    return sorted(requests, key=lambda request: draw(seed, request.text))
