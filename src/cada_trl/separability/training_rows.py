"""The rows that a probe is fitted on: texts, what each is, and which of them belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cada_trl.errors import UserError
from cada_trl.records import Request

BoolArray = npt.NDArray[np.bool_]

MIN_ROWS = 10  # ours: two of each in every fold


@dataclass(frozen=True)
class TrainingRows:
    """Rows of one group are twins: their texts differ in little but in being harmful. A row without a twin is alone."""

    texts: list[str]
    harmful_n: BoolArray
    groups: list[str]

    def pairs(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """(harmful row, harmless row) in random order: twins where there are any, else rows drawn together."""
        found = self.twins() or self._drawn_together(rng)
        return [found[place] for place in rng.permutation(len(found))]

    def twins(self) -> list[tuple[int, int]]:
        """(harmful row, harmless row) of every group that holds both."""
        by_group: defaultdict[str, dict[bool, int]] = defaultdict(dict)
        for row, group in enumerate(self.groups):
            by_group[group].setdefault(bool(self.harmful_n[row]), row)
        return [(rows[True], rows[False]) for rows in by_group.values() if len(rows) == 2]

    def _drawn_together(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        sides = (rng.permutation(np.flatnonzero(self.harmful_n == side)).tolist() for side in (True, False))
        return list(zip(*sides, strict=False))


def training_rows(train: Sequence[Request], benign_train: Sequence[Request]) -> TrainingRows:
    """The rows of a request set that are trained on. Errors: UserError where all are harmful or all harmless."""
    if min(len(train), len(benign_train)) < MIN_ROWS:
        raise UserError(
            f"the request set has {len(train)} harmful and {len(benign_train)} harmless training rows; "
            f"expected at least {MIN_ROWS} of each for a probe that tells them apart"
        )
    rows = [*train, *benign_train]
    harmful_n = np.array([request.harmful for request in rows])
    return TrainingRows([request.text for request in rows], harmful_n, [group(request) for request in rows])


def group(request: Request) -> str:
    """What the request shares with its twin."""
    return request.pair or request.id
