"""How a number of an evaluation is written in a table; what is not known has no number."""

from __future__ import annotations

from cada_trl.evals.compare import Change
from cada_trl.evals.scores import Measure, Metric
from cada_trl.numbers import ABSENT, Cell

WITHHELD = Cell("withheld")


def rate_cell(measure: Measure | None) -> Cell:
    """`42.0 % (29.4 to 55.8; 21/50)`: rate, Wilson 95 % interval, counts."""
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return _absent(measure)
    interval = f"{100 * measure.low:.1f} to {100 * measure.high:.1f}"
    return Cell(f"{100 * measure.value:.1f} %", f"{interval}; {measure.successes}/{measure.n}")


def percent_cell(measure: Measure | None) -> Cell:
    """`42.0 %`: a rate that stands beside the headline; its counts are in the JSON."""
    return _absent(measure) if measure is None or measure.value is None else Cell(f"{100 * measure.value:.1f} %")


def score_cell(measure: Measure | None) -> Cell:
    """`0.42 (0.31 to 0.53; n 50)`: mean score in [0, 1]."""
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return _absent(measure)
    return Cell(f"{measure.value:.2f}", f"{measure.low:.2f} to {measure.high:.2f}; n {measure.n}")


def difference_cell(change: Change, unit: str = "points") -> Cell:
    """`-12.0 points (-20.9 to -3.1; 50 pairs)`; unit "" for a score in [0, 1]."""
    if change.difference is None:
        return ABSENT if change.n_pairs == 0 else WITHHELD
    scale, digits = (100, 1) if unit else (1, 2)
    value = f"{scale * change.difference:+.{digits}f} {unit}".rstrip()
    if change.low is None or change.high is None:
        return Cell(value, f"no interval: few seeds; {change.n_pairs} pairs")
    low, high = (f"{scale * end:+.{digits}f}" for end in (change.low, change.high))
    return Cell(value, f"{low} to {high}; {change.n_pairs} pairs")


def share_cell(value: float | None, sd: float | None) -> Cell:
    """`42.0 % (sd 1.5)`, from fractions; sd over seeds, where there are several."""
    return ABSENT if value is None else Cell(f"{100 * value:.1f} %", "" if sd is None else f"sd {100 * sd:.1f}")


def p_cell(p: float | None) -> str:
    """`0.03`, `< 0.001`."""
    if p is None:
        return str(ABSENT)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reading(change: Change, metric: Metric) -> str:
    """safer, less safe, more helpful, less helpful, or no clear change: what the 95 % interval allows to say."""
    if change.low is None or change.high is None:
        return str(ABSENT)
    if change.low <= 0 <= change.high:
        return "no clear change"
    up, down = ("less safe", "safer") if metric == "asr" else ("more helpful", "less helpful")
    return up if change.low > 0 else down


def _absent(measure: Measure | None) -> Cell:
    return WITHHELD if measure is not None and measure.n else ABSENT
