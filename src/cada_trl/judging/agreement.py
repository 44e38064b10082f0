"""How far a judge agrees with people on one set of labelled responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cada_trl.judging.judge import Judged
from cada_trl.judging.labels import Label, LabelSet
from cada_trl.records import Verdict
from cada_trl.statistics import Rate, cohen_kappa


@dataclass(frozen=True)
class Agreement:
    """Confusion of a judge with people; "yes" is the label (refused, or harmful), n_unscored is in no other count."""

    name: str
    label: Label
    true_yes: int
    false_yes: int
    false_no: int
    true_no: int
    n_unscored: int
    kappa: float

    @property
    def n(self) -> int:
        return self.true_yes + self.false_yes + self.false_no + self.true_no

    @property
    def accuracy(self) -> Rate:
        return Rate(self.true_yes + self.true_no, self.n, self.n + self.n_unscored)

    @property
    def precision(self) -> Rate:
        """Of what the judge says yes to, the share that people say yes to."""
        said = self.true_yes + self.false_yes
        return Rate(self.true_yes, said, said)

    @property
    def recall(self) -> Rate:
        """Of what people say yes to and the judge scored, the share that the judge says yes to."""
        yes = self.true_yes + self.false_no
        return Rate(self.true_yes, yes, yes)

    @property
    def f1(self) -> float:
        """NaN where nobody says yes to anything."""
        total = 2 * self.true_yes + self.false_yes + self.false_no
        return 2 * self.true_yes / total if total else math.nan

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON; a rate of nothing is null."""
        row: dict[str, Any] = {"name": self.name, "label": self.label, "n": self.n}
        row["coverage"] = or_null(self.accuracy.coverage)
        for name, rate in (("accuracy", self.accuracy), ("precision", self.precision), ("recall", self.recall)):
            row |= {name: or_null(rate.value), f"{name}_interval": list(rate.interval), f"{name}_n": rate.n}
        row |= {"f1": or_null(self.f1), "kappa": or_null(self.kappa), "unscored": self.n_unscored}
        return row | {count: getattr(self, count) for count in ("true_yes", "false_yes", "false_no", "true_no")}


def agreement(name: str, label: Label, said: Sequence[bool | None], people: Sequence[bool]) -> Agreement:
    """Count said against people's labels; None is UNSCORED. Errors: ValueError for unequal lengths."""
    scored = [(one, other) for one, other in zip(said, people, strict=True) if one is not None]
    return Agreement(
        name,
        label,
        true_yes=scored.count((True, True)),
        false_yes=scored.count((True, False)),
        false_no=scored.count((False, True)),
        true_no=scored.count((False, False)),
        n_unscored=len(said) - len(scored),
        kappa=cohen_kappa([one for one, _ in scored], [other for _, other in scored]),
    )


def said_of(judged: Judged, label: Label) -> bool | None:
    """The judge's own label; None: it gave none."""
    if label == "harmful":
        return judged.harmful
    return None if judged.verdict is Verdict.UNSCORED else judged.verdict is Verdict.REFUSED


def area_under_roc(labelled: LabelSet, scores: Sequence[float | None]) -> dict[str, Any]:
    """How well harmful_score orders: the chance that a harmful response scores above another one, ties half.

    Free of a threshold (Hanley and McNeil 1982); area None where one of the two kinds is absent.
    """
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for score, harmful in zip(scores, labelled.people, strict=True):
        if score is not None:
            kinds[harmful].append(score)
    wins = sum((one > other) + 0.5 * (one == other) for one in kinds[True] for other in kinds[False])
    n_pairs = len(kinds[True]) * len(kinds[False])
    area = wins / n_pairs if n_pairs else None
    return {"name": labelled.name, "n_harmful": len(kinds[True]), "n_other": len(kinds[False]), "area": area}


def or_null(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
