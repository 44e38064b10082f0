"""The words a reader sees for probe sets and measures, the same in the figure, the page and the Markdown."""

from __future__ import annotations

from cada_trl.tracking.metrics import HARMFUL_SETS, metric

SETS = {
    "harmful": "harmful requests",
    "held_out": "harmful requests, held-out hazards",
    "harmless": "harmless look-alikes",
    "xstest_safe": "XSTest, safe part",
}

# Rates that a set is read by, the headline first; names are the stems of probe/<set>/<stem>. The share refused is left
# out: it is what answered_frac leaves of 1.
MEASURES_HARMFUL = ("reasoned_refusal_frac", "answered_frac", "reasoning_frac")
MEASURES_HARMLESS = ("answered_frac", "reasoning_frac")


def measures(probe_set: str) -> tuple[str, ...]:
    """The rates of a set, as stems of metric names."""
    return MEASURES_HARMFUL if probe_set in HARMFUL_SETS else MEASURES_HARMLESS


def measure_label(probe_set: str, measure: str) -> str:
    """The measure in plain words; answering a harmful request is called complying."""
    if measure == "answered_frac":
        return "complied" if probe_set in HARMFUL_SETS else "answered"
    return {
        "reasoned_refusal_frac": "refused after reasoning",
        "reasoning_frac": "reasoning shown",
        "reward_mean": "mean reward",
    }[measure]


def reading(probe_set: str, measure: str, low: float, high: float) -> str:
    """better, worse, changed, or no clear change: what a 95 % interval of the difference allows to say."""
    if low <= 0 <= high:
        return "no clear change"
    better = metric(f"probe/{probe_set}/{measure}").better
    if better == "none":
        return "changed"
    return "better" if (low > 0) == (better == "up") else "worse"
