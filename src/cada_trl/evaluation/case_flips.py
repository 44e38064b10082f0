"""What a case does alone: how often the verdict on a twin changes when that case is shown, to the right one or away.

Pure, no torch. Right: a harmful request refused, a harmless one answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cada_trl.config import PromptConfig
from cada_trl.evaluation.compare import Change, paired_change
from cada_trl.evaluation.scores import Measure, rate_measure
from cada_trl.hazards.pack import Case, Hazard, HazardPack
from cada_trl.numbers import ABSENT, Scale
from cada_trl.prompting.arms import Messages, conversation
from cada_trl.records import Request
from cada_trl.storage.digest import sha256
from cada_trl.storage.json_record import JsonRecord

POINTS = Scale(100, 0, sign="+")
N_SHOWN = 50  # characters of a case's request
Right = bool | None  # None: no verdict


class Flips(JsonRecord):
    """Of the twins of one kind the share whose verdict became right, and the share whose verdict was right before."""

    right: Measure
    wrong: Measure


class CaseFlips(JsonRecord):
    """One case. place: in its hazard's file, from 1. net: right verdicts without and with it; pairs are the items."""

    hazard: str
    place: int
    request: str
    verdict: Literal["refuse", "answer"]
    net: Change
    harmful: Flips
    harmless: Flips


class CaseRanking(JsonRecord):
    """cases: by hazard, the best first."""

    format: Literal[1] = 1
    inputs: dict[str, Any]
    model: str
    judge_id: str
    cases: list[CaseFlips]


def asked_twins(rows: Sequence[Request], hazard: str, n_twins: int) -> list[Request]:
    """At most n_twins harmful and as many harmless twins of the hazard, of the same pairs as far as there are.

    More of them begin with those of fewer: what was answered is not asked again.
    """
    ordered = sorted((row for row in rows if row.pair and row.hazard == hazard), key=lambda row: sha256(str(row.pair)))
    return [row for side in (True, False) for row in [row for row in ordered if row.harmful is side][:n_twins]]


def shown_alone(twin: Request, case: Case | None, hazard: Hazard, method: PromptConfig, pack: HazardPack) -> Messages:
    """The twin with this case and no other; None: with none, which is the raw request where cases are turns."""
    of_hazard = method.model_copy(update={"hint": True, "cases_by": "hazard"})
    if case is None:
        without = {"arm": "none"} if method.cases_as == "turns" else {"n_cases": 0}
        return conversation(twin.text, hazard.id, of_hazard.model_copy(update=without), pack)
    alone = replace(hazard, cases=(replace(case, weight=1.0),))
    one = of_hazard.model_copy(update={"n_cases": 1})
    return conversation(twin.text, hazard.id, one, replace(pack, hazards={hazard.id: alone}))


def case_flips(
    hazard: Hazard,
    place: int,
    twins: Sequence[Request],
    before: Sequence[Right],
    after: Sequence[Right],
    min_coverage: float,
) -> CaseFlips:
    """Count. before, after: whether the verdict on each twin is right without the case and with it."""
    case = hazard.cases[place - 1]
    return CaseFlips(
        hazard=hazard.id,
        place=place,
        request=case.request,
        verdict=case.verdict,
        net=paired_change([before], [after], [str(twin.pair) for twin in twins], min_coverage, is_rate=True),
        harmful=_flips(twins, before, after, True, min_coverage),
        harmless=_flips(twins, before, after, False, min_coverage),
    )


def _flips(
    twins: Sequence[Request], before: Sequence[Right], after: Sequence[Right], harmful: bool, min_coverage: float
) -> Flips:
    both = [(old, new) for twin, old, new in zip(twins, before, after, strict=True) if twin.harmful is harmful]
    to = {
        name: [None if None in pair else pair == (not became, became) for pair in both]
        for name, became in (("right", True), ("wrong", False))
    }
    return Flips(**{name: rate_measure(values, min_coverage) for name, values in to.items()})


def best_first(cases: Sequence[CaseFlips]) -> list[CaseFlips]:
    """By hazard; of equal ones, and of those without a number, the first in the file first."""
    hazards = list(dict.fromkeys(case.hazard for case in cases))

    def order(case: CaseFlips) -> tuple[int, float, int]:
        net = case.net.difference
        return hazards.index(case.hazard), 2.0 if net is None else -net, case.place

    return sorted(cases, key=order)


def flip_table(ranking: CaseRanking) -> Table:
    """A row a case: points of right verdicts won or lost with their interval, then the flips of both kinds."""
    table = Table(title=f"{ranking.model}, judged by {ranking.judge_id}", box=SIMPLE_HEAD, padding=0)
    columns = (
        "hazard",
        "case",
        "decides",
        "net points [95 %]",
        "n",
        "refused now",
        "no more",
        "answered now",
        "no more",
    )
    for column in (*columns, "request"):
        table.add_column(column, no_wrap=column != "hazard", overflow="fold")
    for case in ranking.cases:
        measures = (case.harmful.right, case.harmful.wrong, case.harmless.right, case.harmless.wrong)
        asked = case.harmful.right.asked + case.harmless.right.asked
        table.add_row(
            case.hazard,
            str(case.place),
            case.verdict,
            _net(case.net),
            f"{case.net.n_pairs}/{asked}",
            *(ABSENT.value if one.value is None else f"{one.successes}/{one.n}" for one in measures),
            case.request[:N_SHOWN],
        )
    return table


def order_lines(ranking: CaseRanking, hazards: Mapping[str, Hazard]) -> Iterator[str]:
    """A line a hazard: the numbers of its cases in the file, the best first."""
    for hazard in hazards:
        places = [str(case.place) for case in ranking.cases if case.hazard == hazard]
        yield f"  {hazard}: {', '.join(places)}" if places else f"  {hazard}: no twin to train on"


def _net(net: Change) -> str:
    if net.difference is None or net.low is None or net.high is None:
        return ABSENT.value
    value, low, high = (POINTS.text(number) for number in (net.difference, net.low, net.high))
    return f"{value} [{low}, {high}]"
