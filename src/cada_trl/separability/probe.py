"""The linear probe: a logistic regression that says of a text's features how harmful the text is.

Its features are states of the frozen model, or a bag of words: which words a text holds, whatever their order. What
that separates, single words separate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cada_trl.data.likeness import normalise
from cada_trl.statistics.resampled import auc_and_j_intervals
from cada_trl.storage.files import JsonRecord

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WEIGHT_DECAY = 0.003  # ours, for both kinds of features
MAX_ITERATIONS = 100
MIN_TEXTS = 2  # that hold a word, for a bag to know it
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
