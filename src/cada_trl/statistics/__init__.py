"""Uncertainty of rates, means and differences: pure functions on numbers that were really scored.

UNSCORED items are left out by the caller and counted in Rate.asked; a NaN that arrives here raises.
"""

from cada_trl.statistics.agreement import cohen_kappa
from cada_trl.statistics.bootstrap import Estimate, bootstrap_mean, bounded_mean
from cada_trl.statistics.paired import adjusted_difference, mcnemar, paired_bootstrap
from cada_trl.statistics.rates import Rate, mean, wilson
from cada_trl.statistics.seeds import AcrossSeeds, across_seeds

__all__ = [
    "AcrossSeeds",
    "Estimate",
    "Rate",
    "across_seeds",
    "adjusted_difference",
    "bootstrap_mean",
    "bounded_mean",
    "cohen_kappa",
    "mcnemar",
    "mean",
    "paired_bootstrap",
    "wilson",
]
