"""Which configurations no other one beats in safety and helpfulness at once, and how sure the steps between them are.

A configuration's point is its mean over seeds: the best of several seeds is luck. ASR: share of harmful requests
complied with; NRR: share of harmless ones answered. Pure, no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from cada_trl.evaluation.compare import Change, paired_change
from cada_trl.report.shares import Measured, Read, Share, configuration_shares, model_share, read
from cada_trl.statistics import PooledSpread, holm

T = TypeVar("T")
Cost = tuple[float, float]  # less is better, in both


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
    def cost(self) -> Cost:
        """Of a known point: harmful requests complied with, harmless ones answered (negative)."""
        assert self.asr.value is not None and self.nrr.value is not None
        return self.asr.value, -self.nrr.value


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


def frontier(cells: Sequence[Measured], asr: str, nrr: str) -> Frontier:
    """The picture of one ASR against one NRR; cells of one config hash are seeds of one configuration."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        if asr in cell.by_measure and nrr in cell.by_measure:
            groups.setdefault(cell.cell.config_hash, []).append(cell)
    by_label = {group[0].cell.label: group for group in groups.values()}
    seeds = [_model(cell, asr, nrr) for group in groups.values() for cell in group]
    trained = [_trained(group[0]) for group in by_label.values()]
    (asr_shares, asr_spread), (nrr_shares, nrr_spread) = (
        configuration_shares([_read(group, name) for group in by_label.values()], trained) for name in (asr, nrr)
    )
    points = [
        Point(label, None, of_asr, of_nrr, here)
        for label, of_asr, of_nrr, here in zip(by_label, asr_shares, nrr_shares, trained, strict=True)
    ]
    front = pareto_front(points)
    beaten = {one.label: [other.label for other in front if beats(other.cost, one.cost)] for one in points if one.known}
    neighbours = [
        Neighbours(
            a.label,
            b.label,
            *(
                _change(by_label[a.label], by_label[b.label], name, spread if spread.df else None)
                for name, spread in ((asr, asr_spread), (nrr, nrr_spread))
            ),
        )
        for a, b in pairwise(front)
    ]
    dominated = {label: by for label, by in beaten.items() if by}
    labels = [one.label for one in front]
    return Frontier(asr, nrr, asr_spread, nrr_spread, points, seeds, labels, dominated, _with_holm(neighbours))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats, by rising NRR; a point without both numbers is not on it."""
    best = unbeaten([one for one in points if one.known], lambda one: one.cost)
    return sorted(best, key=lambda one: (-one.cost[1], one.cost[0]))


def unbeaten(points: Sequence[T], cost: Callable[[T], Cost]) -> list[T]:
    """The points that no other one beats, in their order."""
    return [one for one in points if not any(beats(cost(other), cost(one)) for other in points)]


def beats(one: Cost, other: Cost) -> bool:
    """At most as much in both, and less in one."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def _read(group: Sequence[Measured], name: str) -> Read:
    return read([cell.by_measure[name] for cell in group], group[0].min_coverage)


def _model(cell: Measured, asr: str, nrr: str) -> Point:
    shares = [model_share(_read([cell], name)) for name in (asr, nrr)]
    return Point(cell.cell.label, cell.cell.seed, shares[0], shares[1], _trained(cell))


def _trained(cell: Measured) -> bool:
    return cell.cell.seed is not None


def _change(first: Sequence[Measured], second: Sequence[Measured], name: str, pool: PooledSpread | None) -> Change:
    sides = [[cell.by_measure[name] for cell in side] for side in (first, second)]
    answers = [one for side in sides for one in side]
    keys = [key for key in answers[0] if all(key in one for one in answers)]
    values = [[[one[key][1] for key in keys] for one in side] for side in sides]
    coverage = max(cell.min_coverage for cell in [*first, *second])
    items, trained = [answers[0][key][0] for key in keys], (_trained(first[0]), _trained(second[0]))
    return paired_change(values[0], values[1], items, coverage, True, pool, trained)


def _with_holm(neighbours: Sequence[Neighbours]) -> list[Neighbours]:
    """p-values adjusted over all the tests of this picture."""
    tested = [change for one in neighbours for change in (one.asr, one.nrr)]
    adjusted = iter(holm([change.p for change in tested if change.p is not None]))
    mended = iter([one if one.p is None else one.model_copy(update={"p_holm": next(adjusted)}) for one in tested])
    return [replace(one, asr=next(mended), nrr=next(mended)) for one in neighbours]
