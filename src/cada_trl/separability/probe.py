"""The linear probe: a logistic regression that says of a text's features how harmful the text is; which layer's states
it reads of the training rows, and what more of these would bring.

Its features are states of the frozen model, or a bag of words: which words a text holds, whatever their order. What
that separates, single words separate. The layer is chosen by cross-validation on the training rows, never by a
benchmark. The curve fits the probe anew on some of the training pairs, more and more of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cada_trl.data.likeness import normalise
from cada_trl.errors import UserError
from cada_trl.records import Request
from cada_trl.statistics.resampled import auc_and_j, auc_and_j_intervals
from cada_trl.storage.files import JsonRecord

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
StatesArray = npt.NDArray[np.float32]
Sides = tuple[StatesArray, StatesArray]  # states of harmful and of harmless texts

WEIGHT_DECAY = 0.003  # ours, for both kinds of features
MAX_ITERATIONS = 100
MIN_TEXTS = 2  # that hold a word, for a bag to know it
MIN_ROWS = 10  # ours: two of each in every fold
DEPTHS = (1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)  # ours: as shares of the model's layers
N_FOLDS = 5
N_DRAWS = 5
STEADY = 1e-6  # added to a feature's deviation: one that never varies divides by no zero


@dataclass(frozen=True)
class Probe:
    """Weights on features less their mean, in units of their deviation."""

    mean_f: FloatArray
    deviation_f: FloatArray
    weight_f: FloatArray
    bias: float

    def score(self, features_nf: npt.NDArray[np.floating]) -> FloatArray:
        """Log-odds of harmful, per text."""
        scores: FloatArray = ((features_nf - self.mean_f) / self.deviation_f) @ self.weight_f + self.bias
        return scores


def fit(features_nf: npt.NDArray[np.floating], harmful_n: BoolArray, standardised: bool = True) -> Probe:
    """Fit by LBFGS in float64; both classes weigh the same, however many rows each has. Deterministic.

    standardised=False takes the features as they are: standardised, a rare word would count far more than a common
    one. Errors: ValueError where a class has no row.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    if harmful_n.all() or not harmful_n.any():
        raise ValueError("expected harmful and harmless rows to tell apart")
    x_nf: FloatArray = features_nf.astype(np.float64)
    mean_f, deviation_f = np.zeros(x_nf.shape[1]), np.ones(x_nf.shape[1])
    if standardised:
        mean_f, deviation_f = x_nf.mean(0), x_nf.std(0, ddof=1) + STEADY
    z_nf = torch.from_numpy((x_nf - mean_f) / deviation_f)
    y_n = torch.from_numpy(harmful_n.astype(np.float64))
    balance_n = torch.where(y_n == 1, 0.5 / y_n.mean(), 0.5 / (1 - y_n).mean())
    weight_f = torch.zeros(z_nf.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight_f, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = binary_cross_entropy_with_logits(z_nf @ weight_f + bias, y_n, weight=balance_n)
        value = value + WEIGHT_DECAY * weight_f.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return Probe(mean_f, deviation_f, weight_f.detach().numpy(), bias.item())


class Interval(JsonRecord):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Separation(JsonRecord):
    """auc: the chance that a harmful text scores above a harmless one, 0.5 a coin; a tie counts half.

    j: the share of harmful texts above the threshold less that of harmless ones, at the best threshold for these very
    texts. A coin's j is therefore above 0: about 0.1 for two sets of 100.
    """

    auc: Interval
    j: Interval

    @classmethod
    def of(cls, harmful_n: FloatArray, harmless_n: FloatArray, seed: int) -> Separation:
        """Measure the scores of two sets. Errors: as auc_and_j_intervals."""
        auc, j = auc_and_j_intervals(harmful_n, harmless_n, seed)
        return cls(auc=Interval(**auc._asdict()), j=Interval(**j._asdict()))


class BagOfWords:
    """The words that at least MIN_TEXTS of the given texts hold."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in _words(text))
        known = sorted(word for word, n in counts.items() if n >= MIN_TEXTS)
        self.column = {word: column for column, word in enumerate(known)}

    def features(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """1 where the text holds the word, else 0: [text, word]."""
        holds_nf = np.zeros((len(texts), len(self.column)))
        for row, text in enumerate(texts):
            holds_nf[row, [self.column[word] for word in _words(text) if word in self.column]] = 1.0
        return holds_nf


def _words(text: str) -> set[str]:
    return set(normalise(text).split())


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


@dataclass(frozen=True)
class TrainingRows:
    """Rows of one group are twins: their texts differ in little but in being harmful. A row without a twin is alone."""

    texts: list[str]
    harmful_n: BoolArray
    groups: list[str]

    def pairs(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """(harmful row, harmless row) in random order: twins where there are any, else rows drawn together."""
        pairs = self.twins()
        if not pairs:
            sides = (rng.permutation(np.flatnonzero(self.harmful_n == side)).tolist() for side in (True, False))
            pairs = list(zip(*sides, strict=False))
        return [pairs[place] for place in rng.permutation(len(pairs))]

    def twins(self) -> list[tuple[int, int]]:
        """(harmful row, harmless row) of every group that holds both."""
        by_group: defaultdict[str, dict[bool, int]] = defaultdict(dict)
        for row, group in enumerate(self.groups):
            by_group[group].setdefault(bool(self.harmful_n[row]), row)
        return [(rows[True], rows[False]) for rows in by_group.values() if len(rows) == 2]


def training_rows(train: Sequence[Request], benign_train: Sequence[Request]) -> TrainingRows:
    """The rows of a request set that are trained on. Errors: UserError with fewer than MIN_ROWS of a kind."""
    if min(len(train), len(benign_train)) < MIN_ROWS:
        raise UserError(
            f"the request set has {len(train)} harmful and {len(benign_train)} harmless training rows; "
            f"expected at least {MIN_ROWS} of each for a probe that tells them apart"
        )
    rows = [*train, *benign_train]
    harmful_n = np.array([request.harmful for request in rows])
    return TrainingRows([row.text for row in rows], harmful_n, [row.pair or row.id for row in rows])


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


def learning_curve(
    sizes: Sequence[int], states_nf: StatesArray, rows: TrainingRows, asked: Mapping[str, Sides], seed: int = 0
) -> list[CurvePoint]:
    """A point per size. Each draw orders the pairs at random, and a size takes its first so many: sizes are nested.

    states_nf: of the training rows, one layer's. asked: what the probe is asked about.
    """
    orders = [rows.pairs(np.random.default_rng([seed, draw])) for draw in range(N_DRAWS)]
    return [_point(size, states_nf, rows, orders, asked) for size in sizes]


def _point(
    size: int,
    states_nf: StatesArray,
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
    auc, j = ({name: _spread([both[which] for both in values]) for name, values in found.items()} for which in (0, 1))
    return CurvePoint(n_pairs=size, n_draws=len(orders), auc=auc, j=j)


def _spread(values: list[float]) -> Spread:
    return Spread(mean=float(np.mean(values)), low=min(values), high=max(values))
