"""The percentile bootstrap of a mean, for values without known ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cada_trl.statistics.bounded import Estimate

_RESAMPLES_AT_ONCE = 200  # bounds the memory: 200 x n indices


def bootstrap_mean(values: Sequence[float], n_resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean with the percentile bootstrap's 95 % interval (Efron 1979); the same seed gives the same interval.

    Values that are all equal give no width, and few different ones too little: where the ends are known take
    adjusted_mean. Errors: ValueError for no values or a NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one value and no NaN: leave UNSCORED items out and report the coverage")
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            array[rng.integers(0, array.size, size=(min(_RESAMPLES_AT_ONCE, n_resamples - start), array.size))].mean(
                axis=1
            )
            for start in range(0, n_resamples, _RESAMPLES_AT_ONCE)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(array.mean()), float(low), float(high))
