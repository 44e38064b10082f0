"""Uncertainty of rates, means and differences: pure functions on numbers that were really scored.

UNSCORED items are left out by the caller and counted in Rate.asked; a NaN that arrives here raises. Which interval
stands where, and how often each holds the truth: docs/statistics.md.
"""

from cada_trl.statistics.agreement import agreement, agreement_line, cohen_kappa
from cada_trl.statistics.bootstrap import bootstrap_mean
from cada_trl.statistics.bounded import Estimate, adjusted_mean
from cada_trl.statistics.paired import adjusted_difference, holm, mcnemar, paired_bootstrap, sign_flip
from cada_trl.statistics.pooled import MIN_DF, UNBOUNDED, PooledSpread, pooled_spread
from cada_trl.statistics.rates import Rate, mean, wilson
from cada_trl.statistics.seeds import AcrossSeeds, SeedDifference, across_seeds, difference_across_seeds
from cada_trl.statistics.student import t_95

__all__ = [
    "MIN_DF",
    "UNBOUNDED",
    "AcrossSeeds",
    "Estimate",
    "PooledSpread",
    "Rate",
    "SeedDifference",
    "across_seeds",
    "adjusted_difference",
    "adjusted_mean",
    "agreement",
    "agreement_line",
    "bootstrap_mean",
    "cohen_kappa",
    "difference_across_seeds",
    "holm",
    "mcnemar",
    "mean",
    "paired_bootstrap",
    "pooled_spread",
    "sign_flip",
    "t_95",
    "wilson",
]
