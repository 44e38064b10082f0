"""Uncertainty of rates, means and differences: pure functions on numbers that were really scored.

UNSCORED items are left out by the caller and counted in Rate.asked; a NaN that arrives here raises. Which interval
stands where, and how often each holds the truth: docs/reading_the_report.md.
"""
