"""Which configurations no other one beats in safety and helpfulness at once, and how sure the steps between them are.

A configuration's point is its mean over seeds: the best of several seeds is luck. ASR: share of harmful requests
complied with; NRR: share of harmless ones answered. Pure, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from cada_trl.evals.compare import Change, paired_change
from cada_trl.evals.scores import withheld
from cada_trl.reporting.sweep.answers import Answers, Measured
from cada_trl.statistics import Rate, across_seeds, adjusted_mean, holm


@dataclass(frozen=True)
class Share:
    """A rate in [0, 1] with its 95 % interval, of n of the asked pairs; None where `withheld` says why."""

    n: int
    asked: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    withheld: str | None = None


@dataclass(frozen=True)
class Point:
    """One model (seed given), or a configuration's mean over the seeds (seed None)."""

    label: str
    seed: int | None
    asr: Share
    nrr: Share

    @property
    def known(self) -> bool:
        return self.asr.value is not None and self.nrr.value is not None


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

    dominated_by: label -> the labels on the front that are at least as good in both and better in one.
    """

    asr: str
    nrr: str
    points: list[Point]
    seeds: list[Point]
    front: list[str]
    dominated_by: dict[str, list[str]]
    neighbours: list[Neighbours]


def frontier(cells: Sequence[Measured], asr: str, nrr: str) -> Frontier:
    """The picture of one ASR against one NRR; cells of one config hash are seeds of one configuration."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        if asr in cell.by_measure and nrr in cell.by_measure:
            groups.setdefault(cell.cell.config_hash, []).append(cell)
    seeds = [_point([cell], asr, nrr, cell.cell.seed) for group in groups.values() for cell in group]
    by_label = {group[0].cell.label: group for group in groups.values()}
    points = [_point(group, asr, nrr, None) for group in by_label.values()]
    front = pareto_front(points)
    beaten = {one.label: [other.label for other in front if _beats(other, one)] for one in points if one.known}
    neighbours = [
        Neighbours(a.label, b.label, *(_change(by_label[a.label], by_label[b.label], name) for name in (asr, nrr)))
        for a, b in pairwise(front)
    ]
    dominated = {label: by for label, by in beaten.items() if by}
    return Frontier(asr, nrr, points, seeds, [one.label for one in front], dominated, _with_holm(neighbours))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats, by rising NRR; a point without both numbers is not on it."""
    known = [one for one in points if one.known]
    best = [one for one in known if not any(_beats(other, one) for other in known)]
    return sorted(best, key=lambda one: (one.nrr.value, one.asr.value))


def _beats(one: Point, other: Point) -> bool:
    assert one.asr.value is not None and one.nrr.value is not None
    assert other.asr.value is not None and other.nrr.value is not None
    at_least = one.asr.value <= other.asr.value and one.nrr.value >= other.nrr.value
    return at_least and (one.asr.value, one.nrr.value) != (other.asr.value, other.nrr.value)


def _point(group: Sequence[Measured], asr: str, nrr: str, seed: int | None) -> Point:
    shares = [share([cell.by_measure[name] for cell in group], group[0].min_coverage) for name in (asr, nrr)]
    return Point(group[0].cell.label, seed, *shares)


def share(seeds: Sequence[Answers], min_coverage: float) -> Share:
    """One seed: Wilson, or where items have several pairs the adjusted interval of their means. Several: across_seeds.

    Several seeds are read on the pairs that all have. Seeds without a pair in common are withheld.
    """
    keys = [key for key in seeds[0] if all(key in one for one in seeds)]
    known = [key for key in keys if all(one[key][1] is not None for one in seeds)]
    reason = withheld(len(known), len(keys), min_coverage)
    if reason:
        return Share(len(known), len(keys), withheld=reason)
    items: dict[str, list[str]] = {}
    for key in known:
        items.setdefault(seeds[0][key][0], []).append(key)
    values_si = [[fmean(bool(one[key][1]) for key in own) for own in items.values()] for one in seeds]
    if len(seeds) > 1:
        several = across_seeds(values_si)
        return Share(len(known), len(keys), several.mean, several.low, several.high)
    if len(items) < len(known):
        return Share(len(known), len(keys), *adjusted_mean(values_si[0]))
    rate = Rate(int(sum(values_si[0])), len(known), len(keys))
    return Share(rate.n, rate.asked, rate.value, *rate.interval)


def _change(first: Sequence[Measured], second: Sequence[Measured], name: str) -> Change:
    sides = [[cell.by_measure[name] for cell in side] for side in (first, second)]
    answers = [one for side in sides for one in side]
    keys = [key for key in answers[0] if all(key in one for one in answers)]
    values = [[[one[key][1] for key in keys] for one in side] for side in sides]
    coverage = max(cell.min_coverage for cell in [*first, *second])
    return paired_change(values[0], values[1], [answers[0][key][0] for key in keys], coverage, is_rate=True)


def _with_holm(neighbours: Sequence[Neighbours]) -> list[Neighbours]:
    """p-values adjusted over all the tests of this picture."""
    tested = [change for one in neighbours for change in (one.asr, one.nrr)]
    adjusted = iter(holm([change.p for change in tested if change.p is not None]))
    mended = iter([one if one.p is None else one.model_copy(update={"p_holm": next(adjusted)}) for one in tested])
    return [replace(one, asr=next(mended), nrr=next(mended)) for one in neighbours]
