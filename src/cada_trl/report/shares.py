"""What the models of a sweep's cells did with each request, and a configuration's share of it with its interval.

The interval is over requests for one model, over pooled seeds for several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from cada_trl.evaluation.items import Outcome
from cada_trl.evaluation.scores import withheld
from cada_trl.report.names import SETS, attack_name, benchmark_name
from cada_trl.report.records import CellRecord
from cada_trl.report.summary import outcome
from cada_trl.statistics import PooledSpread, Rate, adjusted_mean, pooled_spread
from cada_trl.statistics.intervals import centre_and_error

POOLED = "asr/all"
_SAFE = "nrr/xstest_safe/none"
_PROBED = {"probe/harmful", "probe/held_out"}
_ANSWERED = ("probe/xstest_safe", "probe/harmless")

# pair key -> (its item, complied or answered; None: not scored)
Answers = dict[str, tuple[str, bool | None]]


@dataclass(frozen=True)
class Measured:
    """A cell's answers by measure. min_coverage: below it a rate is withheld (0 for probes)."""

    cell: CellRecord
    by_measure: dict[str, Answers]
    min_coverage: float


def measured(cell: CellRecord) -> Measured:
    """asr/<benchmark>/<attack>, nrr/... and asr/all (all harmful items under all attacks); probe/<set>: complied."""
    by_measure: dict[str, Answers] = {}
    for record in cell.evaluations:
        for scored in record.scores.cells:
            own = [one for one in record.outcomes if one.cell == (scored.benchmark, scored.attack)]
            by_measure[f"{scored.metric}/{scored.benchmark}/{scored.attack}"] = _of_outcomes(own)
            if scored.metric == "asr":
                by_measure.setdefault(POOLED, {}).update(_of_outcomes(own))
    for row in cell.run.after if cell.run else []:
        probed = by_measure.setdefault(f"probe/{row.set}", {})
        probed[row.request_id] = (row.request_id, outcome(row, "answered_frac"))
    coverages = [record.scores.min_coverage for record in cell.evaluations]
    return Measured(cell, by_measure, max(coverages, default=0.0))


def axes_shown(cells: Sequence[Measured]) -> list[tuple[str, str]]:
    """(ASR, NRR) of each picture: of evaluations where a cell has both, else of probes; the headline first."""
    known = list(dict.fromkeys(name for cell in cells for name in cell.by_measure))
    attacked = [name for name in known if name.startswith("asr/") and name != POOLED]
    helpful = [_SAFE] if _SAFE in known else [name for name in known if name.startswith("nrr/")][:1]
    if attacked and helpful:
        return [(name, helpful[0]) for name in ([POOLED] if len(attacked) > 1 else []) + attacked]
    answered = [name for name in _ANSWERED if name in known]
    return [(name, one) for name in known if name in _PROBED for one in answered]


def measure_name(measure: str) -> str:
    """The measure for a reader."""
    if measure == POOLED:
        return "all harmful requests and attacks, by request"
    kind, *rest = measure.split("/")
    if kind == "probe":
        return f"probes: {SETS[rest[0]]}"
    return benchmark_name(rest[0]) + (f", {attack_name(rest[1])}" if kind == "asr" else "")


def _of_outcomes(outcomes: Sequence[Outcome]) -> Answers:
    return {one.attempt.key: (f"{one.attempt.item.benchmark}/{one.attempt.item.id}", one.complied) for one in outcomes}


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


@dataclass(frozen=True)
class Read:
    """The seeds' values [seeds, items] on the pairs known in all of them; none where `withheld` says why."""

    n: int
    asked: int
    values_si: list[list[float]]
    withheld: str | None

    @property
    def means(self) -> list[float]:
        return [fmean(values) for values in self.values_si]


def read(seeds: Sequence[Answers], min_coverage: float) -> Read:
    """An item under several attacks counts once, with its mean over them."""
    keys = [key for key in seeds[0] if all(key in one for one in seeds)]
    known = [key for key in keys if all(one[key][1] is not None for one in seeds)]
    reason = withheld(len(known), len(keys), min_coverage)
    items: dict[str, list[str]] = {}
    for key in known:
        items.setdefault(seeds[0][key][0], []).append(key)
    values = [] if reason else [[fmean(bool(one[key][1]) for key in own) for own in items.values()] for one in seeds]
    return Read(len(known), len(keys), values, reason)


def model_share(own: Read) -> Share:
    """One model: Wilson, or where items have several pairs the adjusted interval of their means."""
    if own.withheld:
        return Share(own.n, own.asked, withheld=own.withheld)
    (values,) = own.values_si
    if len(values) < own.n:
        return Share(own.n, own.asked, *adjusted_mean(values), interval="requests", per_seed=(fmean(values),))
    rate = Rate(int(sum(values)), own.n, own.asked)
    return Share(own.n, own.asked, rate.value, *rate.interval, interval="requests", per_seed=(rate.value,))


def configuration_shares(reads: Sequence[Read], trained: Sequence[bool]) -> tuple[list[Share], PooledSpread]:
    """A share for each configuration, and the spread that their intervals have in common.

    Requests: the adjusted error of the items' means over seeds. Seeds: the pool of the configurations that were trained
    here; a model that was not is one model. Where no configuration has a second seed each is one model too.
    """
    pool = pooled_spread([own.means for own, here in zip(reads, trained, strict=True) if here])
    return [
        _share(own, pool) if here and pool.df else model_share(own) for own, here in zip(reads, trained, strict=True)
    ], pool


def _share(own: Read, pool: PooledSpread) -> Share:
    if own.withheld:
        return Share(own.n, own.asked, withheld=own.withheld)
    means = own.means
    centre, error = centre_and_error([fmean(values) for values in zip(*own.values_si, strict=True)], (0.0, 1.0))
    low, high = pool.interval(centre, len(means), item_error=error) or (None, None)
    kind: Literal["pooled", "borrowed"] = "pooled" if len(means) > 1 else "borrowed"
    shown = None if low is None else kind
    return Share(own.n, own.asked, fmean(means), low, high, interval=shown, per_seed=tuple(means))
