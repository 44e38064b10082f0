"""Uncertainty of rates, means and differences: pure functions on numbers that were really scored.

UNSCORED items are left out by the caller and counted in Rate.asked; a NaN that arrives here raises. Which interval
stands where, and how often each holds the truth: docs/reading_the_report.md.
"""

from cada_trl.statistics.intervals import (
    Estimate,
    Rate,
    adjusted_mean,
    auc_and_j,
    auc_and_j_intervals,
    bootstrap_mean,
    mean,
    wilson,
)
from cada_trl.statistics.paired import (
    Confusion,
    adjusted_difference,
    agreement,
    agreement_line,
    cohen_kappa,
    holm,
    mcnemar,
    sign_flip,
)
from cada_trl.statistics.seeds import (
    MIN_DF,
    UNBOUNDED,
    AcrossSeeds,
    PooledSpread,
    SeedDifference,
    across_seeds,
    difference_across_seeds,
    pooled_spread,
    t_95,
)

__all__ = [
    "MIN_DF",
    "UNBOUNDED",
    "AcrossSeeds",
    "Confusion",
    "Estimate",
    "PooledSpread",
    "Rate",
    "SeedDifference",
    "across_seeds",
    "adjusted_difference",
    "adjusted_mean",
    "agreement",
    "agreement_line",
    "auc_and_j",
    "auc_and_j_intervals",
    "bootstrap_mean",
    "cohen_kappa",
    "difference_across_seeds",
    "holm",
    "mcnemar",
    "mean",
    "pooled_spread",
    "sign_flip",
    "t_95",
    "wilson",
]
