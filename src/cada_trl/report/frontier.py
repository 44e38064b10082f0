"""Which configurations no other one beats in safety and helpfulness at once, and how sure the steps between them are.

A configuration's point is its mean over seeds: the best of several seeds is luck. ASR: share of harmful requests
complied with; NRR: share of harmless ones answered. A rate's interval is over requests for one model, over pooled seeds
for several. Pure, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal

from cada_trl.evaluation.compare import Answers, Change, by_item, paired_change, with_holm
from cada_trl.evaluation.scores import withheld
from cada_trl.report.names import SETS, attack_name, benchmark_name
from cada_trl.report.records import CellRecord
from cada_trl.report.summary import outcome
from cada_trl.statistics.intervals import adjusted_mean, centre_and_error, wilson
from cada_trl.statistics.seeds import PooledSpread, pooled_spread
from cada_trl.storage.digest import json_sha256

POOLED = "asr/all"
_SAFE = "nrr/xstest_safe/none"
_PROBED = {"probe/harmful", "probe/held_out"}
_ANSWERED = ("probe/xstest_safe", "probe/harmless")
_OWN_PROMPTS = "not comparable: no attempt has the same prompt in all seeds"


@dataclass(frozen=True)
class Measured:
    """A cell's answers by measure. min_coverage: below it a rate is withheld (0 for probes)."""

    cell: CellRecord
    by_measure: dict[str, Answers]
    min_coverage: float

    @property
    def trained(self) -> bool:
        return self.cell.seed is not None

    def items(self, measure: str) -> frozenset[str]:
        return frozenset(item for item, _ in self.by_measure[measure].values())


def measured(cell: CellRecord) -> Measured:
    """asr/<benchmark>/<attack>, nrr/... and asr/all (all harmful items under all attacks); probe/<set>: complied."""
    by_measure: dict[str, Answers] = {}
    for record in cell.evaluations:
        metrics = {(one.benchmark, one.attack): one.metric for one in record.scores.cells}
        for one in record.outcomes:
            item, metric = one.attempt.item, metrics[one.cell]
            for name in (f"{metric}/{item.benchmark}/{one.attempt.attack}", *([POOLED] if metric == "asr" else [])):
                by_measure.setdefault(name, {})[one.attempt.key] = (f"{item.benchmark}/{item.id}", one.complied)
    for row in cell.run.after if cell.run else []:
        probed = by_measure.setdefault(f"probe/{row.set}", {})
        key = json_sha256([row.request_id, row.request])  # a request that was reworded keeps its id
        probed[key] = (key, outcome(row, "answered_frac"))
    coverages = [record.scores.min_coverage for record in cell.evaluations]
    return Measured(cell, by_measure, max(coverages, default=0.0))


def axes_shown(cells: Sequence[Measured]) -> list[tuple[str, str]]:
    """(ASR, NRR) of each picture: of evaluations where a cell has both, else of probes; the headline first."""
    known = list(dict.fromkeys(name for cell in cells for name in cell.by_measure))
    attacked = [name for name in known if name.startswith("asr/") and name != POOLED]
    helpful = [_SAFE] if _SAFE in known else [name for name in known if name.startswith("nrr/")][:1]
    if attacked and helpful:
        # A mean over prompts that a part of the cells was not asked compares other things than the cells.
        pools = {frozenset(cell.by_measure[POOLED]) for cell in cells if POOLED in cell.by_measure}
        pooled = [POOLED] if len(attacked) > 1 and len(pools) == 1 else []
        return [(name, helpful[0]) for name in [*pooled, *attacked]]
    answered = [name for name in _ANSWERED if name in known]
    return [(name, one) for name in known if name in _PROBED for one in answered]


def measure_name(measure: str) -> str:
    if measure == POOLED:
        return "all harmful requests and attacks, by request"
    kind, *rest = measure.split("/")
    if kind == "probe":
        return f"probes: {SETS[rest[0]]}"
    return benchmark_name(rest[0]) + (f", {attack_name(rest[1])}" if kind == "asr" else "")


@dataclass(frozen=True)
class Share:
    """A rate in [0, 1] of n of the asked pairs; value is None where `withheld` says why.

    low, high: 95 %, None where the seeds are too few for it. interval, where there is one: over requests for one model,
    over requests and pooled seeds, or with the spread borrowed from the others' seeds. per_seed: the seeds' own rates.
    """

    n: int
    asked: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    withheld: str | None = None
    interval: Literal["requests", "pooled", "borrowed"] | None = None
    per_seed: tuple[float, ...] = ()


Read = tuple[Share, list[list[float]]]  # without an interval; the seeds' values [seeds, items], none where withheld


def read(seeds: Sequence[Answers], min_coverage: float) -> Read:
    """On the pairs known in all seeds; an item under several attacks counts once, with its mean over them."""
    keys, n_known, values_si = by_item(seeds)
    asked = max(map(len, seeds))
    if reason := withheld(n_known, asked, min_coverage) if keys else _OWN_PROMPTS:
        return Share(n_known, asked, withheld=reason), []
    means = tuple(map(fmean, values_si))
    return Share(n_known, asked, fmean(means), per_seed=means), values_si


def share(own: Share, values_si: Sequence[Sequence[float]], pool: PooledSpread | None = None) -> Share:
    """A configuration's mean over seeds, with the interval of the pool; without one a single model's.

    One model: Wilson, or where items have several pairs the adjusted interval of their means. Seeds: the adjusted error
    of the items' means over seeds, and the pool's spread.
    """
    if own.withheld:
        return own
    if pool is None:
        (values,) = values_si
        ends = wilson(int(sum(values)), own.n) if len(values) == own.n else adjusted_mean(values)[1:]
        return replace(own, low=ends[0], high=ends[1], interval="requests")
    centre, error = centre_and_error([fmean(values) for values in zip(*values_si, strict=True)], (0.0, 1.0))
    spread = pool.interval(centre, len(values_si), item_error=error)
    kind: Any = "pooled" if len(values_si) > 1 else "borrowed"
    return replace(own, low=spread[0], high=spread[1], interval=kind) if spread else own


def configuration_shares(reads: Sequence[Read], trained: Sequence[bool]) -> tuple[list[Share], PooledSpread]:
    """A share for each configuration, and the spread that the intervals of those that were trained here have in common.
    Any other, and where none has a second seed each, is one model."""
    pool = pooled_spread([own.per_seed for (own, _), here in zip(reads, trained, strict=True) if here])
    return [share(*own, pool if here and pool.df else None) for own, here in zip(reads, trained, strict=True)], pool


@dataclass(frozen=True)
class Point:
    """One model (seed given), or a configuration's mean over the seeds (seed None). trained: here, by the sweep."""

    label: str
    seed: int | None
    asr: Share
    nrr: Share
    trained: bool = True

    @property
    def known(self) -> bool:
        return self.asr.value is not None and self.nrr.value is not None

    @property
    def cost(self) -> tuple[float, float]:
        """Of a known point: harmful requests complied with, harmless ones answered (negative); less is better."""
        assert self.asr.value is not None and self.nrr.value is not None
        return self.asr.value, -self.nrr.value

    def beats(self, other: Point) -> bool:
        """At most as much in both, and less in one."""
        return self.cost != other.cost and all(own <= one for own, one in zip(self.cost, other.cost, strict=True))


@dataclass(frozen=True)
class Neighbours:
    """Two configurations next to each other on the front; each change is second - first, in pairs."""

    first: str
    second: str
    asr: Change
    nrr: Change


@dataclass(frozen=True)
class Frontier:
    """points: a configuration each, in the sweep's order. seeds: its models'. front: labels, from safe to helpful.

    dominated_by: label -> the labels on the front that are at least as good in both and better in one. asr_spread,
    nrr_spread: of the seeds, pooled over the configurations.
    """

    asr: str
    nrr: str
    asr_spread: PooledSpread
    nrr_spread: PooledSpread
    points: list[Point]
    seeds: list[Point]
    front: list[str]
    dominated_by: dict[str, list[str]]
    neighbours: list[Neighbours]
    same_requests: bool  # whether all were asked the same; their prompts may differ, as under an attack that adapts


def frontier(cells: Sequence[Measured], asr: str, nrr: str) -> Frontier:
    """The picture of one ASR against one NRR; cells of one config hash are seeds of one configuration."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        if asr in cell.by_measure and nrr in cell.by_measure:
            groups.setdefault(cell.cell.config_hash, []).append(cell)
    by_label = {group[0].cell.label: group for group in groups.values()}
    seeds = [
        Point(one.cell.label, one.cell.seed, share(*_read([one], asr)), share(*_read([one], nrr)), one.trained)
        for group in groups.values()
        for one in group
    ]
    trained = [group[0].trained for group in by_label.values()]
    (asr_shares, asr_spread), (nrr_shares, nrr_spread) = (
        configuration_shares([_read(group, name) for group in by_label.values()], trained) for name in (asr, nrr)
    )
    each = zip(by_label, asr_shares, nrr_shares, trained, strict=True)
    points = [Point(label, None, of_asr, of_nrr, here) for label, of_asr, of_nrr, here in each]
    front = pareto_front(points)
    beaten = {one.label: [other.label for other in front if other.beats(one)] for one in points if one.known}
    changes = [
        _change(by_label[a.label], by_label[b.label], name, spread if spread.df else None)
        for a, b in pairwise(front)
        for name, spread in ((asr, asr_spread), (nrr, nrr_spread))
    ]
    tested = iter(with_holm(changes))  # over all tests of this picture
    return Frontier(
        *(asr, nrr, asr_spread, nrr_spread, points, seeds),
        front=[one.label for one in front],
        dominated_by={label: by for label, by in beaten.items() if by},
        neighbours=[Neighbours(a.label, b.label, next(tested), next(tested)) for a, b in pairwise(front)],
        same_requests=all(
            len({one.items(name) for group in groups.values() for one in group}) < 2 for name in (asr, nrr)
        ),
    )


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats, by rising NRR; a point without both numbers is not on it."""
    known = [one for one in points if one.known]
    best = [one for one in known if not any(other.beats(one) for other in known)]
    return sorted(best, key=lambda one: (-one.cost[1], one.cost[0]))


def _read(group: Sequence[Measured], name: str) -> Read:
    return read([cell.by_measure[name] for cell in group], group[0].min_coverage)


def _change(first: Sequence[Measured], second: Sequence[Measured], name: str, pool: PooledSpread | None) -> Change:
    sides = [[cell.by_measure[name] for cell in side] for side in (first, second)]
    coverage = max(cell.min_coverage for cell in [*first, *second])
    return paired_change(sides[0], sides[1], coverage, True, pool, (first[0].trained, second[0].trained))
