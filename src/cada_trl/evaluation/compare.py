"""Two models on the same attempts: what changed, in pairs, for each benchmark x attack and over a benchmark's attacks.

Pure, no torch. A side is one evaluation, or several of one configuration's seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Outcome
from cada_trl.evaluation.scores import withheld
from cada_trl.numbers import ABSENT, Scale
from cada_trl.statistics.paired import adjusted_difference, holm, mcnemar, sign_flip
from cada_trl.statistics.seeds import PooledSpread, difference_across_seeds, pooled_spread
from cada_trl.storage.files import JsonRecord

MEASURES = ("complied", "harmful", "harmful_score", "reasoning")
ALL_ATTACKS = "all attacks"
POINTS = Scale(100, 0, sign="+")


@dataclass(frozen=True)
class Evaluated:
    """One model's outcomes by one judge. name is for messages."""

    name: str
    judge_id: str
    outcomes: Sequence[Outcome]


class Change(JsonRecord):
    """One measure on the pairs for which it is known on both sides (in every seed); after - before, 95 % interval.

    before, after, difference: each item counts once, with its mean over the attacks on it. p: exact, that nothing
    changed; only for a rate and one evaluation a side. p_holm: p, adjusted over the cells. only_before, only_after:
    pairs that are true on one side alone. sd_before, sd_after: over the seeds' means, where there are two or more.
    All are None where `withheld` says why. low and high alone are None where the seeds of all configurations together
    are too few for an interval (statistics/seeds.py).
    """

    n_pairs: int
    n_items: int
    before: float | None = None
    after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    only_before: int | None = None
    only_after: int | None = None
    p: float | None = None
    p_holm: float | None = None
    sd_before: float | None = None
    sd_after: float | None = None
    withheld: str | None = None

    @property
    def points(self) -> str:
        """`-12 [-20, -4]`: the difference in points with its interval."""
        if self.difference is None or self.low is None or self.high is None:
            return ABSENT.value
        value, low, high = map(POINTS.text, (self.difference, self.low, self.high))
        return f"{value} [{low}, {high}]"


class ComparedCell(JsonRecord):
    """One benchmark under one attack, or under all of them (ALL_ATTACKS).

    shared: attempts with the same item, attack and prompt on both sides (in every seed). asked_before and asked_after
    are all that the side's evaluations asked: what they have beyond `shared` was asked elsewhere or in other words.
    """

    benchmark: str
    attack: str
    asked_before: int
    asked_after: int
    shared: int
    complied: Change
    harmful: Change
    harmful_score: Change
    reasoning: Change


class Comparison(JsonRecord):
    """compare.json. cells: by benchmark x attack; pooled: benchmarks that several attacks share, clustered by item."""

    format: Literal[1] = 1
    judge_id: str
    min_coverage: float
    before: list[str]
    after: list[str]
    cells: list[ComparedCell]
    pooled: list[ComparedCell]


def compare(
    before: Sequence[Evaluated],
    after: Sequence[Evaluated],
    min_coverage: float,
    among: Sequence[Sequence[Evaluated]] = (),
    trained: tuple[bool, bool] = (True, True),
) -> Comparison:
    """Compare two sides; a measure known for less than min_coverage of the shared attempts is withheld.

    Attempts are paired by key, so that both models read the same prompt. p_holm covers the cells' `complied`; the
    pooled rows look at the same pairs again and are no further tests. among: the seeds of each configuration that
    stands beside; where two or more have several, their pooled variance is that of both sides (statistics/seeds.py).
    trained: whether before and after were, since a model that was not borrows no spread. Errors: UserError for a side
    without an evaluation and for verdicts of different judges.
    """
    judges = sorted({one.judge_id for one in [*before, *after]})
    if not before or not after:
        raise UserError("a comparison needs at least one evaluation before and one after")
    if len(judges) > 1:
        raise UserError(f"verdicts of different judges ({', '.join(judges)}); judge both sides by one of them first")
    outcomes = [one for side in (before, after) for run in side for one in run.outcomes]
    names = list(dict.fromkeys(one.cell for one in outcomes))
    beside = _Beside(among, trained)
    cells = [_cell(before, after, benchmark, [attack], min_coverage, beside) for benchmark, attack in names]
    attacks = {benchmark: [a for b, a in names if b == benchmark] for benchmark, _ in names}
    return Comparison(
        judge_id=judges[0],
        min_coverage=min_coverage,
        before=[one.name for one in before],
        after=[one.name for one in after],
        cells=_with_holm(cells),
        pooled=[
            _cell(before, after, name, some, min_coverage, beside) for name, some in attacks.items() if len(some) > 1
        ],
    )


@dataclass(frozen=True)
class _Beside:
    """What stands beside the two sides, and whether they themselves were trained."""

    configurations: Sequence[Sequence[Evaluated]]
    trained: tuple[bool, bool]

    def pool(self, benchmark: str, attacks: Sequence[str], measure: str) -> PooledSpread | None:
        """Of the seeds' means, each configuration on what is known in all of its seeds; None for fewer than two."""
        means = []
        for seeds in self.configurations:
            runs = [_of_cell(run, benchmark, attacks) for run in seeds]
            values = [{key: getattr(one, measure) for key, one in run.items()} for run in runs]
            known = [key for key in values[0] if all(one.get(key) is not None for one in values)]
            groups: dict[str, list[str]] = {}
            for key in known:
                groups.setdefault(runs[0][key].attempt.item.id, []).append(key)
            if known:
                means.append([fmean(fmean(one[key] for key in own) for own in groups.values()) for one in values])
        spread = pooled_spread(means)
        return spread if spread.n_configurations > 1 else None


def _cell(
    before: Sequence[Evaluated],
    after: Sequence[Evaluated],
    benchmark: str,
    attacks: Sequence[str],
    min_coverage: float,
    beside: _Beside,
) -> ComparedCell:
    sides = [[_of_cell(run, benchmark, attacks) for run in side] for side in (before, after)]
    runs = [run for side in sides for run in side]
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    changes = {
        measure: paired_change(
            [[getattr(run[key], measure) for key in keys] for run in sides[0]],
            [[getattr(run[key], measure) for key in keys] for run in sides[1]],
            [runs[0][key].attempt.item.id for key in keys],
            min_coverage,
            is_rate=measure != "harmful_score",
            pool=beside.pool(benchmark, attacks, measure),
            trained=beside.trained,
        )
        for measure in MEASURES
    }
    asked = [len({key for run in side for key in run}) for side in sides]
    attack = attacks[0] if len(attacks) == 1 else ALL_ATTACKS
    return ComparedCell(
        benchmark=benchmark,
        attack=attack,
        asked_before=asked[0],
        asked_after=asked[1],
        shared=len(keys),
        **changes,
    )


def _of_cell(run: Evaluated, benchmark: str, attacks: Sequence[str]) -> dict[str, Outcome]:
    """Attempt key -> outcome."""
    return {
        one.attempt.key: one
        for one in run.outcomes
        if one.attempt.item.benchmark == benchmark and one.attempt.attack in attacks
    }


def paired_change(
    before_sp: Sequence[Sequence[float | None]],
    after_sp: Sequence[Sequence[float | None]],
    items: Sequence[str],
    min_coverage: float,
    is_rate: bool,
    pool: PooledSpread | None = None,
    trained: tuple[bool, bool] = (True, True),
) -> Change:
    """One measure's change. before_sp, after_sp: values [seeds, pairs], None: not known; items: each pair's item.

    pool, trained: as difference_across_seeds. Two sides of one seed are tested as two models, and borrow no spread.
    """
    known = [i for i in range(len(items)) if all(run[i] is not None for run in [*before_sp, *after_sp])]
    groups: dict[str, list[int]] = {}
    for i in known:
        groups.setdefault(items[i], []).append(i)
    counts: dict[str, Any] = {"n_pairs": len(known), "n_items": len(groups)}
    reason = withheld(len(known), len(items), min_coverage) if items else "no attempt has the same prompt on both sides"
    if reason:
        return Change(**counts, withheld=reason)
    before_si, after_si = _item_means(before_sp, groups), _item_means(after_sp, groups)
    if len(before_sp) == len(after_sp) == 1:
        counts |= _tested(before_sp[0], after_sp[0], groups) if is_rate else {}
        value, low, high = adjusted_difference([new - old for old, new in zip(before_si[0], after_si[0], strict=True)])
        before, after = fmean(before_si[0]), fmean(after_si[0])
        return Change(**counts, before=before, after=after, difference=value, low=low, high=high)
    result = difference_across_seeds(before_si, after_si, pool, trained)
    return Change(
        **counts,
        before=result.before.mean,
        after=result.after.mean,
        difference=result.difference,
        sd_before=result.before.sd,
        sd_after=result.after.sd,
        low=result.low,
        high=result.high,
    )


def _item_means(values_sp: Sequence[Sequence[Any]], groups: Mapping[str, Sequence[int]]) -> list[list[float]]:
    return [[fmean(run[i] for i in group) for group in groups.values()] for run in values_sp]


def _tested(before: Sequence[Any], after: Sequence[Any], groups: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """McNemar where every pair is an item of its own, else the sign flip over items."""
    changes = [[int(after[i]) - int(before[i]) for i in group] for group in groups.values()]
    every = [change for group in changes for change in group]
    lost, gained = every.count(-1), every.count(1)
    alone = len(every) == len(groups)
    p = mcnemar(lost, gained) if alone else sign_flip([sum(group) for group in changes])
    return {"only_before": lost, "only_after": gained, "p": p}


def _with_holm(cells: Sequence[ComparedCell]) -> list[ComparedCell]:
    adjusted = iter(holm([cell.complied.p for cell in cells if cell.complied.p is not None]))
    return [
        cell.model_copy(update={"complied": cell.complied.model_copy(update={"p_holm": next(adjusted)})})
        if cell.complied.p is not None
        else cell
        for cell in cells
    ]
