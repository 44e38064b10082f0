"""The linear probe: a logistic regression that says of a text's features how harmful the text is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WEIGHT_DECAY = 0.003  # ours, for both kinds of features
MAX_ITERATIONS = 100
STEADY = 1e-6  # added to a feature's deviation: one that never varies divides by no zero


@dataclass(frozen=True)
class Probe:
    """Weights on features less their mean, in units of their deviation."""

    mean_f: FloatArray
    deviation_f: FloatArray
    weight_f: FloatArray
    bias: float

    def score(self, features_nf: npt.NDArray[np.floating]) -> FloatArray:
        """Log-odds of harmful, a text each."""
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
