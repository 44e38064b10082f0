"""What more pairs would bring: the probe fitted anew on some of the training pairs, more and more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cada_trl.separability.measures import auc_and_j
from cada_trl.separability.probe import fit
from cada_trl.separability.training_rows import TrainingRows
from cada_trl.storage.json_record import JsonRecord

N_DRAWS = 5

Sides = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # states of harmful and of harmless texts


class Spread(JsonRecord):
    """A mean over the draws and their range."""

    mean: float
    low: float
    high: float


class CurvePoint(JsonRecord):
    """auc and j: name of a pair -> its spread over the draws. Both are empty where there are not that many pairs."""

    n_pairs: int
    n_draws: int
    auc: dict[str, Spread]
    j: dict[str, Spread]


def learning_curve(
    sizes: Sequence[int],
    states_nf: npt.NDArray[np.float32],
    rows: TrainingRows,
    asked: Mapping[str, Sides],
    seed: int = 0,
    n_draws: int = N_DRAWS,
) -> list[CurvePoint]:
    """A point a size. Each draw orders the pairs at random, and a size takes its first so many: sizes are nested.

    states_nf: of the training rows, one layer's. asked: what the probe is asked about.
    """
    orders = [rows.pairs(np.random.default_rng([seed, draw])) for draw in range(n_draws)]
    return [_point(size, states_nf, rows, orders, asked) for size in sizes]


def _point(
    size: int,
    states_nf: npt.NDArray[np.float32],
    rows: TrainingRows,
    orders: list[list[tuple[int, int]]],
    asked: Mapping[str, Sides],
) -> CurvePoint:
    if size > len(orders[0]):
        return CurvePoint(n_pairs=size, n_draws=0, auc={}, j={})
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for order in orders:
        taken = [row for pair in order[:size] for row in pair]
        probe = fit(states_nf[taken], rows.harmful_n[taken])
        for name, sides in asked.items():
            found[name].append(auc_and_j(*(probe.score(side_nf) for side_nf in sides)))
    auc, j = ({name: _spread([one[which] for one in values]) for name, values in found.items()} for which in (0, 1))
    return CurvePoint(n_pairs=size, n_draws=len(orders), auc=auc, j=j)


def _spread(values: list[float]) -> Spread:
    return Spread(mean=float(np.mean(values)), low=min(values), high=max(values))
