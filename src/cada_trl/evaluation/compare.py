"""Two models on the same attempts: what changed, in pairs, for each benchmark x attack and over a benchmark's attacks.

Pure, no torch. A side is one evaluation, or several of one configuration's seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Literal

from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Outcome
from cada_trl.evaluation.scores import withheld
from cada_trl.numbers import ABSENT, Scale
from cada_trl.statistics.paired import holm, sign_flip
from cada_trl.statistics.seeds import PooledSpread, across_seeds, difference_across_seeds, pooled_spread
from cada_trl.storage.files import JsonRecord

MEASURES = ("complied", "harmful", "harmful_score", "reasoning")
ALL_ATTACKS = "all attacks"
POINTS = Scale(100, 0, sign="+")
Answers = dict[str, tuple[str, float | None]]  # pair -> its item, its value (None: not known)


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
    """compare.json. cells: by benchmark x attack; pooled: benchmarks under several attacks on both sides, clustered by
    item."""

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
    attacks = {benchmark: [a for b, a in names if b == benchmark] for benchmark, _ in names}
    on_both = set.intersection(*({one.cell for run in side for one in run.outcomes} for side in (before, after)))

    def cell(benchmark: str, attacks: Sequence[str]) -> ComparedCell:
        answers = partial(answers_of, benchmark, attacks)
        changes = {
            measure: paired_change(
                answers(measure, before),
                answers(measure, after),
                min_coverage,
                is_rate=measure != "harmful_score",
                pool=_pool([answers(measure, seeds) for seeds in among]),
                trained=trained,
            )
            for measure in MEASURES
        }
        asked = [answers("complied", side) for side in (before, after)]
        return ComparedCell(
            benchmark=benchmark,
            attack=attacks[0] if len(attacks) == 1 else ALL_ATTACKS,
            asked_before=len({key for seed in asked[0] for key in seed}),
            asked_after=len({key for seed in asked[1] for key in seed}),
            shared=len(by_item(asked[0] + asked[1])[0]),
            **changes,
        )

    cells = [cell(benchmark, [attack]) for benchmark, attack in names]
    adjusted = with_holm([one.complied for one in cells])
    return Comparison(
        judge_id=judges[0],
        min_coverage=min_coverage,
        before=[one.name for one in before],
        after=[one.name for one in after],
        cells=[one.model_copy(update={"complied": change}) for one, change in zip(cells, adjusted, strict=True)],
        pooled=[
            cell(benchmark, some)
            for benchmark, some in attacks.items()
            if sum((benchmark, attack) in on_both for attack in some) > 1
        ],
    )


def answers_of(benchmark: str, attacks: Sequence[str], measure: str, runs: Sequence[Evaluated]) -> list[Answers]:
    """What each run says of the benchmark's items under these attacks."""
    return [
        {
            one.attempt.key: (one.attempt.item.id, getattr(one, measure))
            for one in run.outcomes
            if one.attempt.item.benchmark == benchmark and one.attempt.attack in attacks
        }
        for run in runs
    ]


def by_item(runs: Sequence[Answers]) -> tuple[list[str], int, list[list[float]]]:
    """(the pairs that all runs have, how many of them all know, values [runs, items]: means over an item's pairs)."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    items: dict[str, list[str]] = {}
    for key in keys:
        if all(run[key][1] is not None for run in runs):
            items.setdefault(runs[0][key][0], []).append(key)
    values_si = [
        [fmean(value for key in own if (value := run[key][1]) is not None) for own in items.values()] for run in runs
    ]
    return keys, sum(map(len, items.values())), values_si


def _pool(configurations: Sequence[Sequence[Answers]]) -> PooledSpread | None:
    """Of the seeds' means, each configuration on what is known in all of its seeds; None for fewer than two."""
    known = [values for seeds in configurations if (values := by_item(seeds)[2])[0]]
    spread = pooled_spread([[fmean(row) for row in values] for values in known])
    # Whether seeds are pooled is the page's: a cell that one training alone has must not fall back to its own.
    return spread if sum(len(seeds) > 1 for seeds in configurations) > 1 else None


def paired_change(
    before: Sequence[Answers],
    after: Sequence[Answers],
    min_coverage: float,
    is_rate: bool,
    pool: PooledSpread | None = None,
    trained: tuple[bool, bool] = (True, True),
) -> Change:
    """One measure's change. before, after: the answers of each seed.

    pool, trained: as difference_across_seeds. Two sides of one seed are tested as two models, and borrow no spread.
    """
    keys, n_known, values_si = by_item([*before, *after])
    counts: dict[str, Any] = {"n_pairs": n_known, "n_items": len(values_si[0])}
    reason = withheld(n_known, len(keys), min_coverage) if keys else "no attempt has the same prompt on both sides"
    if reason:
        return Change(**counts, withheld=reason)
    sides_si = values_si[: len(before)], values_si[len(before) :]
    alone = len(before) == len(after) == 1
    if alone and is_rate:
        counts |= _tested(before[0], after[0], keys)
    value, low, high = difference_across_seeds(*sides_si, None if alone else pool, trained)
    old, new = map(across_seeds, sides_si)
    means: dict[str, Any] = {"before": old.mean, "after": new.mean, "sd_before": old.sd, "sd_after": new.sd}
    return Change(**counts, **means, difference=value, low=low, high=high)


def _tested(before: Answers, after: Answers, keys: Sequence[str]) -> dict[str, Any]:
    """The sign flip over items, which is McNemar's test where every pair is an item of its own."""
    changes: Counter[str] = Counter()
    every = []
    for key in keys:
        (item, old), (_, new) = before[key], after[key]
        if old is not None and new is not None:
            every.append(int(new) - int(old))
            changes[item] += every[-1]
    return {"only_before": every.count(-1), "only_after": every.count(1), "p": sign_flip([*changes.values()])}


def with_holm(changes: Sequence[Change]) -> list[Change]:
    """The same, with p_holm where there is a p."""
    adjusted = iter(holm([one.p for one in changes if one.p is not None]))
    return [one if one.p is None else one.model_copy(update={"p_holm": next(adjusted)}) for one in changes]
