"""Several seeds of one configuration on the same items: mean, standard deviation, hierarchical interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cada_trl.statistics.bootstrap import resampled_means


@dataclass(frozen=True)
class AcrossSeeds:
    """per_seed: each seed's mean; sd over them (n - 1). sd, low and high are None below two seeds: no spread is known.

    low, high: 95 % interval for the mean of further seeds on further items of the same kind.
    """

    per_seed: list[float]
    n_items: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def across_seeds(values_si: Sequence[Sequence[float]], n_resamples: int = 10_000, seed: int = 0) -> AcrossSeeds:
    """Summarise values [seeds, items]; column i is the same item in every seed.

    The interval's two levels, added draw by draw. Items: resampled once for all seeds, which share them; drawing them
    anew inside each seed would count one hard item as several. Seeds: Student's t on the sd of their means; ours, since
    resampling S seeds cannot leave [lowest, highest], which covers 1 - 2^(1-S): 75 % for three. Both levels hold the
    noise of a single answer, so the interval errs to the wide side.
    Errors: ValueError for no values, a NaN or seeds with different numbers of items.
    """
    if not values_si or len({len(row) for row in values_si}) != 1:
        raise ValueError("expected at least one seed, and the same items in every seed")
    array = np.asarray(values_si, dtype=np.float64)
    if array.size == 0 or np.isnan(array).any():
        raise ValueError("expected at least one item and no NaN: leave out items UNSCORED in any seed")
    n_seeds, n_items = array.shape
    means = array.mean(axis=1)
    centre = float(means.mean())
    if n_seeds == 1:
        return AcrossSeeds(means.tolist(), n_items, centre, None, None, None)
    sd = float(means.std(ddof=1))
    rng = np.random.default_rng(seed)
    draws = resampled_means(array.mean(axis=0), n_resamples, rng)
    draws += rng.standard_t(n_seeds - 1, size=n_resamples) * sd / math.sqrt(n_seeds)
    low, high = np.quantile(draws, [0.025, 0.975])
    return AcrossSeeds(means.tolist(), n_items, centre, sd, float(low), float(high))
