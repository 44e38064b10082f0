"""Rates and changes of a frontier as a reader sees them."""

from __future__ import annotations

from cada_trl.evals.compare import Change
from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.sweep.frontier import Frontier, Neighbours, Point
from cada_trl.reporting.sweep.shares import Share


def share_cell(share: Share) -> Cell:
    """The rate with scored of asked and its 95 % interval, or the lowest and highest seed, or why it is not given."""
    if share.value is None:
        return Cell(str(ABSENT), share.withheld or "")
    told = f"n {share.n}/{share.asked}"
    if share.low is not None and share.high is not None:
        told += f"; {100 * share.low:.1f} to {100 * share.high:.1f}"
        told += ", borrowed" if share.interval == "borrowed" else ""
    elif len(share.per_seed) > 1:
        told += f"; seeds {100 * min(share.per_seed):.1f} to {100 * max(share.per_seed):.1f}"
    return Cell(f"{100 * share.value:.1f} %", told)


def change_cell(change: Change) -> Cell:
    """In percentage points, with the interval, the pairs and the adjusted p where there is one."""
    if change.difference is None:
        return Cell(str(ABSENT), change.withheld or "")
    told = "no interval: few seeds"
    if change.low is not None and change.high is not None:
        told = f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"
    told += f"; {change.n_pairs} pairs"
    if change.p is not None and change.p_holm is not None:
        told += f"; p {change.p:.2g}, Holm {change.p_holm:.2g}"
    return Cell(f"{100 * change.difference:+.1f} points", told)


def reading(two: Neighbours) -> str:
    """What the intervals allow to say of the step from one neighbour to the next."""
    clear = [name for name, change in (("ASR", two.asr), ("NRR", two.nrr)) if _is_clear(change)]
    if not clear and (two.asr.low is None or two.nrr.low is None):
        return "not known"
    return f"clear in {' and '.join(clear)}" if clear else "no clear difference"


def standing(point: Point, one: Frontier) -> str:
    """Whether a configuration is on the front, or what beats it; nothing for a single seed."""
    if point.seed is not None:
        return ""
    if not point.known:
        return "not drawn"
    beaten = one.dominated_by.get(point.label)
    return "dominated by " + "; ".join(beaten) if beaten else "on the front"


def seed_words(point: Point, one: Frontier) -> str:
    """The seed, or over how many the mean is."""
    seeds = [own.seed for own in one.seeds if own.label == point.label]
    if point.seed is None and len(seeds) > 1:
        return f"mean of {len(seeds)}"
    seed = seeds[0] if point.seed is None else point.seed
    return "" if seed is None else str(seed)


def _is_clear(change: Change) -> bool:
    return change.low is not None and change.high is not None and not change.low <= 0 <= change.high
