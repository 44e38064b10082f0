"""Two runs or two raters on the same items: exact tests of a change, intervals of the difference, agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cada_trl.statistics.intervals import Rate


def sign_flip(changes: Sequence[int]) -> float:
    """Two-sided p of the exact sign-flip test: McNemar's test where several pairs share one item.

    changes: one number an item, its successes in run b less those in run a (over the attacks on it). Where the runs are
    alike each item's change is as likely with the other sign, whatever its size; p is the share of all sign patterns
    with a sum at least as far from 0. Items that change by 1 give McNemar's p (1947). Source: Fisher's randomisation
    test (1935); Durkalski et al. (2003) have the large-sample form for clustered pairs.
    """
    import numpy as np

    sizes = [abs(change) for change in changes if change]
    most = sum(sizes)
    share = np.zeros(2 * most + 1)  # share[most + s]: of sign patterns with sum s
    share[most] = 1.0
    for size in sizes:
        share = (np.roll(share, size) + np.roll(share, -size)) / 2  # nothing wraps: the ends stay 0 until the last
    distance = abs(np.arange(-most, most + 1))
    return min(1.0, float(share[distance >= abs(sum(changes))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in the given order: below 0.05 holds for all of them at once.

    Source: Holm (1979), the step-down Bonferroni; valid however the tests depend on each other. Errors: ValueError for
    a value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"expected p-values in [0, 1], got {list(p_values)}")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Agreement of two raters beyond chance (Cohen 1960): 1 perfect, 0 chance; NaN where chance is 1 or n is 0.

    Errors: ValueError for unequal lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"raters judged {len(first)} and {len(second)} items; expected the same items")
    n = len(first)
    if n == 0:
        return math.nan
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(list(first).count(label) * list(second).count(label) for label in set(first) | set(second)) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def agreement(first: Sequence[object], second: Sequence[object]) -> dict[str, Any]:
    """For a manifest: n, agreed and Cohen's kappa, None where it is not defined (no rows, or one answer only)."""
    kappa = cohen_kappa(first, second)
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    return {"n": len(first), "agreed": agreed, "kappa": None if math.isnan(kappa) else kappa}


def agreement_line(found: Mapping[str, Any]) -> str:
    """`2202 of 2420 alike, Cohen's kappa 0.892`."""
    kappa = "not defined" if found["kappa"] is None else f"{found['kappa']:.3f}"
    return f"{found['agreed']} of {found['n']} alike, Cohen's kappa {kappa}"


@dataclass(frozen=True)
class Confusion:
    """Answers beside people's labels, both yes or no; n_unscored items have no answer and are in no other count."""

    true_yes: int
    false_yes: int
    false_no: int
    true_no: int
    n_unscored: int
    kappa: float

    @classmethod
    def of(cls, answers: Sequence[bool | None], people: Sequence[bool]) -> Confusion:
        """Count; an answer None is UNSCORED. Errors: ValueError for unequal lengths."""
        scored = [(answer, label) for answer, label in zip(answers, people, strict=True) if answer is not None]
        yes_yes, yes_no, no_yes, no_no = (
            scored.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))
        )
        kappa = cohen_kappa([answer for answer, _ in scored], [label for _, label in scored])
        return cls(yes_yes, yes_no, no_yes, no_no, len(answers) - len(scored), kappa)

    @property
    def n(self) -> int:
        return self.true_yes + self.false_yes + self.false_no + self.true_no

    @property
    def accuracy(self) -> Rate:
        return Rate(self.true_yes + self.true_no, self.n, self.n + self.n_unscored)

    @property
    def precision(self) -> Rate:
        """Of what is answered with yes, the share that people say yes to."""
        n_yes = self.true_yes + self.false_yes
        return Rate(self.true_yes, n_yes, n_yes)

    @property
    def recall(self) -> Rate:
        """Of what people say yes to and was scored, the share that is answered with yes."""
        n_yes = self.true_yes + self.false_no
        return Rate(self.true_yes, n_yes, n_yes)

    @property
    def f1(self) -> float:
        """NaN where nobody says yes to anything."""
        total = 2 * self.true_yes + self.false_yes + self.false_no
        return 2 * self.true_yes / total if total else math.nan
