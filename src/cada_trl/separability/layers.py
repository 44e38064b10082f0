"""Which layer's states the probe reads: chosen by cross-validation on the training rows, never by a benchmark."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from cada_trl.separability.measures import auc_and_j
from cada_trl.separability.probe import BoolArray, fit
from cada_trl.separability.training_rows import TrainingRows

StatesArray = npt.NDArray[np.float32]

DEPTHS = (1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)  # ours: as shares of the model's layers
N_FOLDS = 5


def candidate_layers(n_layers: int) -> list[int]:
    """The layers to choose from, counted from 1: the states after that many layers."""
    return sorted({max(1, round(depth * n_layers)) for depth in DEPTHS})


def cross_validated(states_lnf: StatesArray, layers: list[int], rows: TrainingRows, seed: int) -> dict[int, float]:
    """Layer -> its mean AUC over the folds that were not learned on; twins are in one fold."""
    fold_n = folds(rows, seed)
    found = (_mean_auc(states_nf, rows.harmful_n, fold_n) for states_nf in states_lnf)
    return dict(zip(layers, found, strict=True))


def folds(rows: TrainingRows, seed: int) -> npt.NDArray[np.int64]:
    """Each row's fold, one of N_FOLDS; each fold gets its share of twins, of harmful and of harmless rows."""
    kinds: defaultdict[str, set[bool]] = defaultdict(set)
    for row, group in enumerate(rows.groups):
        kinds[group].add(bool(rows.harmful_n[row]))
    shuffled = np.random.default_rng(seed).permutation(sorted(kinds)).tolist()
    dealt = sorted(shuffled, key=lambda group: sorted(kinds[group]))  # harmless alone, twins, harmful alone
    of_group = {group: place % N_FOLDS for place, group in enumerate(dealt)}
    return np.array([of_group[group] for group in rows.groups])


def _mean_auc(states_nf: StatesArray, harmful_n: BoolArray, fold_n: npt.NDArray[np.int64]) -> float:
    found = []
    for fold in range(N_FOLDS):
        asked_n = fold_n == fold
        probe = fit(states_nf[~asked_n], harmful_n[~asked_n])
        sides = (probe.score(states_nf[asked_n & side_n]) for side_n in (harmful_n, ~harmful_n))
        found.append(auc_and_j(*sides)[0])
    return float(np.mean(found))
