"""Train, probe and held-out hazards, drawn by a hash of seed and text: the input's order decides nothing.

The source's own probe is drawn before train; with sampling=natural a larger n_train never changes it. Twins are split
by pair, and which pairs are probed depends on nothing but the pairs themselves. Held-out hazards stay out of training:
checked on the request set as read, however it came to be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cada_trl.config import Config, DataConfig
from cada_trl.data.likeness import normalise, text_hash
from cada_trl.data.rows import Row
from cada_trl.errors import UserError
from cada_trl.records import Request
from cada_trl.storage.digest import sha256

TRAINED_ON = ("train", "benign_train")
Parts = dict[str, list[Request]]  # a part's name, as of its file -> its requests


@dataclass(frozen=True)
class PairRoles:
    """Ids of the pairs that are never trained on: the fixed third that is probed, and those of a held-out hazard."""

    probe: frozenset[str]
    held_out: frozenset[str]


def draw(seed: int, text: str) -> str:
    """The text's place in the seed's random order: SHA-256 (hex) of the seed and the comparison form."""
    return sha256(f"{seed}:{normalise(text)}")


def split(requests: Collection[Request], roles: PairRoles, data: DataConfig, seed: int) -> Parts:
    """All parts of the source's own requests and of the twins beside them. Errors: UserError as those of each."""
    parts = split_twins([request for request in requests if request.pair is not None], roles, data, seed)
    if data.dataset != "twins":
        rows = [request for request in requests if request.pair is None]
        own = split_harmful([request for request in rows if request.harmful], data, seed)
        own |= split_harmless([request for request in rows if not request.harmful], data.held_out_hazards, seed)
        both = {name: [*part, *parts[name]] for name, part in own.items() if name != "probe"}
        parts |= {name: in_drawn_order(part, seed) for name, part in both.items()}
        parts["probe"] = own["probe"]
        parts["harmless_probe"] = sorted(both["harmless_probe"], key=lambda request: text_hash(request.text))
    return parts


def split_harmful(requests: Collection[Request], data: DataConfig, seed: int) -> Parts:
    """train, probe and held_out of harmful requests, no text in two of them.

    natural: at random (paper, Data); stratified: as even over hazards as the counts allow. Errors: UserError when there
    are fewer than n_probe + n_train requests outside the held-out hazards.
    """
    n_train, n_probe, held_out_hazards = data.n_train, data.n_probe, data.held_out_hazards
    assert n_train is not None and n_probe is not None  # null is refused for every dataset but twins
    ordered = in_drawn_order(requests, seed)
    held_out = [request for request in ordered if request.hazard in held_out_hazards]
    pool = [request for request in ordered if request.hazard not in held_out_hazards]
    if len(pool) < n_train + n_probe:
        largest, share = len(pool) - n_probe, len(pool) * n_probe // (n_probe + n_train)
        advice = f"the largest n_train is {largest}"
        if largest < 1:
            advice = f"n_train={len(pool) - max(share, 1)} n_probe={max(share, 1)} would fit"
        if len(pool) < 2:
            advice = "give more rows, or fewer held_out_hazards"
        raise UserError(
            f"n_train={n_train} and n_probe={n_probe} need {n_train + n_probe} requests; "
            f"{len(pool)} are left ({len(held_out)} held out); {advice}"
        )
    if data.sampling == "natural":
        return {"train": pool[n_probe : n_probe + n_train], "probe": pool[:n_probe], "held_out": held_out}
    counts = Counter(request.hazard for request in pool)
    # The probe takes at most its share of each hazard: an even draw alone would leave train without the rare ones.
    shares = {hazard: -(-n * n_probe // (n_probe + n_train)) for hazard, n in counts.items()}
    probe = _take(pool, even_quotas(shares, n_probe))
    probed = set(probe)
    rest = [request for request in pool if request not in probed]
    train = _take(rest, even_quotas(Counter(request.hazard for request in rest), n_train))
    return {"train": train, "probe": probe, "held_out": held_out}


def split_harmless(requests: Collection[Request], held_out_hazards: Collection[str], seed: int) -> Parts:
    """Harmless look-alikes, hazard by hazard: two thirds in benign_train, one third in harmless_probe.

    Look-alikes of held-out hazards go to the probe only: those hazards are never trained on in any form.
    """
    by_hazard: defaultdict[str, list[Request]] = defaultdict(list)
    for request in in_drawn_order(requests, seed):
        by_hazard[request.hazard].append(request)
    train, probe = [], []
    for hazard, rows in sorted(by_hazard.items()):
        n_probe = len(rows) if hazard in held_out_hazards else -(-len(rows) // 3)
        probe += rows[:n_probe]
        train += rows[n_probe:]
    return {"benign_train": in_drawn_order(train, seed), "harmless_probe": in_drawn_order(probe, seed)}


def pair_roles(twins: Iterable[Row], held_out_hazards: Collection[str]) -> PairRoles:
    """Of the rows as read, before any filter, so that no filter moves a pair from the probe into training.

    Probed: of the pairs of each hazard (the harmful row's) the first third, rounded up, by the SHA-256 of their ids.
    Held out: the pairs with a row of such a hazard.
    """
    rows = list(twins)
    of_hazard: defaultdict[str | None, list[str]] = defaultdict(list)
    for row in rows:
        if row.harmful and row.pair is not None:
            of_hazard[row.hazard].append(row.pair)
    probe = {pair for pairs in of_hazard.values() for pair in sorted(pairs, key=sha256)[: -(-len(pairs) // 3)]}
    held_out = {row.pair for row in rows if row.hazard in held_out_hazards and row.pair is not None}
    return PairRoles(frozenset(probe), frozenset(held_out))


def wanted_twin(row: Row, roles: PairRoles, data: DataConfig) -> bool:
    """Whether any part takes the row: those that are probed, and those that `twins` says are trained on."""
    if row.pair in roles.probe:
        return True
    if row.harmful:
        return data.twins == "both"
    return data.twins != "none" or row.pair in roles.held_out


def split_twins(requests: Collection[Request], roles: PairRoles, data: DataConfig, seed: int) -> Parts:
    """Wanted twins by pair; with data=twins, n_train pairs are trained on, as even over hazards as there are.

    probe and the rows of twins_probe are the same whatever the seed. Errors: UserError when there are fewer than
    n_train pairs to train on, or with data=twins none.
    """
    fixed = sorted(requests, key=lambda request: text_hash(request.text))
    held_out = [r for r in fixed if r.harmful and r.pair in roles.held_out and data.twins == "both"]
    probed = [r for r in fixed if r.pair in roles.probe]
    drawn = in_drawn_order([r for r in fixed if r.pair not in roles.probe | roles.held_out], seed)
    if data.dataset == "twins":
        pairs = {request.pair for request in _drawn_pairs([r for r in drawn if r.harmful], data.n_train)}
        drawn = [request for request in drawn if request.pair in pairs]
    return {
        "train": [r for r in drawn if r.harmful],
        "probe": [r for r in probed if r.harmful and r.pair not in roles.held_out],
        "held_out": held_out,
        "benign_train": [r for r in drawn if not r.harmful],
        "harmless_probe": [r for r in fixed if not r.harmful and r.pair in roles.probe | roles.held_out],
        "twins_probe": sorted(probed, key=lambda r: (sha256(str(r.pair)), not r.harmful)),
    }


def n_trained(data: DataConfig, twins: Iterable[Row]) -> int:
    """How many requests `train` will hold, as far as the settings say it: filters may leave fewer twins."""
    rows = list(twins)
    roles = pair_roles(rows, data.held_out_hazards)
    n_twins = sum(row.harmful and row.pair not in roles.probe | roles.held_out for row in rows)
    if data.dataset == "twins":
        return n_twins if data.n_train is None else min(n_twins, data.n_train)
    return int(data.n_train or 0) + (n_twins if data.twins == "both" else 0)


def in_drawn_order(requests: Iterable[Request], seed: int) -> list[Request]:
    return sorted(requests, key=lambda request: draw(seed, request.text))


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


def _drawn_pairs(harmful: list[Request], n_train: int | None) -> list[Request]:
    """The harmful rows of the pairs to train on."""
    if not harmful:
        raise UserError("no pair is left to train on; expected more pairs, fewer held_out_hazards or looser filters")
    if n_train is None:
        return harmful
    if len(harmful) < n_train:
        raise UserError(f"n_train={n_train} pairs; {len(harmful)} are left to train on; lower n_train, or null for all")
    return _take(harmful, even_quotas(Counter(request.hazard for request in harmful), n_train))


def check_fills_a_step(config: Config, n_harmful: int, n_harmless: int) -> None:
    """Errors: UserError for fewer requests to train on than a step takes."""
    n_benign = config.algo.benign_per_step
    missing = config.algo.requests_per_step - n_benign - n_harmful
    # Of three pairs of a hazard two are trained on.
    more = "raise n_train" if config.data.n_train else f"write {-(-3 * missing // 2)} more pairs of a hazard"
    for kind, there, wanted, instead in (
        ("harmful", n_harmful, n_harmful + missing, more),
        ("harmless", n_harmless, n_benign, "lower benign_frac"),
    ):
        if there < wanted:
            seen = f"{there} {kind} requests to train on are fewer than the {wanted} per step"
            raise UserError(f"{seen}; {instead}, or lower requests_per_step")


def check_no_leak(parts: Mapping[str, Sequence[Request]], held_out_hazards: Collection[str], where: object) -> None:
    """Errors: UserError for a training request of a held-out hazard, or one that is asked in a probe, or whose twin is.

    The probes may share rows: twins_probe repeats some of probe, held_out and harmless_probe beside their twins.
    """
    probed = [(name, request) for name, part in parts.items() if name not in TRAINED_ON for request in part]
    asked = {normalise(request.text): name for name, request in probed}
    asked_pairs = {request.pair: name for name, request in probed if request.pair is not None}
    for name in TRAINED_ON:
        for number, request in enumerate(parts[name], start=1):
            leak = None
            if request.hazard in held_out_hazards:
                leak = f"is of the hazard '{request.hazard}', which is held out"
            elif normalise(request.text) in asked:
                leak = f"is also in {asked[normalise(request.text)]}.jsonl"
            elif request.pair in asked_pairs:
                leak = f"has its twin in {asked_pairs[request.pair]}.jsonl"
            if leak:
                raise UserError(
                    f"{where}/{name}.jsonl, row {number}: '{request.id}' {leak}; delete the folder and prepare again"
                )
