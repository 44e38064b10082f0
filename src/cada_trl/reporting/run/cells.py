"""How a number of a run's probes is written in a table."""

from __future__ import annotations

from typing import Any

from cada_trl.numbers import ABSENT, Cell


def rate_cell(rate: dict[str, Any] | None) -> Cell:
    """`42.0 % (21/50; 29.4 to 55.8)`: rate, counts, Wilson 95 % interval."""
    if not rate or rate["rate"] is None:
        return ABSENT
    interval = f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}"
    return Cell(f"{100 * rate['rate']:.1f} %", f"{rate['successes']}/{rate['n']}; {interval}")


def difference_cell(paired: dict[str, Any]) -> Cell:
    """`+12.0 points (+3.1 to +20.9; 50 pairs)`: paired difference, adjusted 95 % interval."""
    if paired["difference"] is None:
        return ABSENT
    interval = f"{100 * paired['low']:+.1f} to {100 * paired['high']:+.1f}"
    return Cell(f"{100 * paired['difference']:+.1f} points", f"{interval}; {paired['n_pairs']} pairs")


def reward_cell(reward: dict[str, Any] | None) -> Cell:
    """`+0.42 (+0.31 to +0.53; n 50)`: mean reward, bootstrap 95 % interval."""
    if not reward or reward["mean"] is None:
        return ABSENT
    return Cell(f"{reward['mean']:+.2f}", f"{reward['low']:+.2f} to {reward['high']:+.2f}; n {reward['n']}")


def reward_difference_cell(paired: dict[str, Any]) -> Cell:
    """`+0.20 (+0.05 to +0.35; 50 pairs)`."""
    if paired["difference"] is None:
        return ABSENT
    interval = f"{paired['low']:+.2f} to {paired['high']:+.2f}"
    return Cell(f"{paired['difference']:+.2f}", f"{interval}; {paired['n_pairs']} pairs")


def coverage_cell(one_pass: dict[str, Any] | None) -> str:
    """`49/50 scored`."""
    return str(ABSENT) if one_pass is None else f"{one_pass['scored']}/{one_pass['asked']} scored"


def seed_cell(value: float | None, measure: str, stage: str) -> str:
    """A value in the table over seeds: percent, points or reward; stage is before, after, difference or sd."""
    if value is None:
        return str(ABSENT)
    if measure == "reward_mean":
        return f"{value:.2f}" if stage == "sd" else f"{value:+.2f}"
    return f"{100 * value:+.1f}" if stage == "difference" else f"{100 * value:.1f}"


def over_seeds_cell(row: dict[str, Any]) -> str:
    """`60.0 to 80.0`, `60.0 to 80.0, borrowed`: the mean's 95 % interval; without one `seeds 68.0 to 71.0`."""
    known = [value for value in row["per_run"] if value is not None]
    ends = [row["low"], row["high"]] if row["low"] is not None else [min(known), max(known)] if len(known) > 1 else []
    if not ends:
        return str(ABSENT)
    told = " to ".join(seed_cell(end, row["measure"], row["stage"]) for end in ends)
    return f"seeds {told}" if row["low"] is None else told + (", borrowed" if row["borrowed"] else "")
