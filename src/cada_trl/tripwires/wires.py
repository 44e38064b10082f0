"""Each tripwire as a pure function: what was seen -> a sentence where it trips, None where it does not.

Nothing known trips nothing: a None in, a window that is not full yet, a metric that a method does not have.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from cada_trl.statistics import Rate, adjusted_difference

Gram = tuple[str, ...]


def shown(rate: Rate) -> str:
    """A rate in words: value, count, Wilson 95 % interval, and its coverage where it is not whole."""
    low, high = rate.interval
    unscored = f", {rate.asked - rate.n} unscored" if rate.asked > rate.n else ""
    return f"{rate.value:.0%} ({rate.successes} of {rate.n}{unscored}; 95 % interval {low:.0%} to {high:.0%})"


def share_above(what: str, rate: Rate, limit_frac: float) -> str | None:
    """Trips where the lower end of the rate's 95 % interval is above the limit."""
    if rate.interval[0] <= limit_frac:
        return None
    return f"{what}: {shown(rate)}, limit {limit_frac:.0%}"


def n_grams(text: str, n: int) -> list[Gram]:
    """Every n words in a row, in lower case and without punctuation."""
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def reuse_frac(analysis: str, known: Collection[Gram], n: int) -> float | None:
    """The share of an analysis's n-grams that are known; None for one shorter than n words."""
    grams = n_grams(analysis, n)
    return sum(gram in known for gram in grams) / len(grams) if grams else None


def copied_analysis(reused: Sequence[float], n: int, limit_frac: float) -> str | None:
    """Trips where the mean share of reused n-grams is above the limit."""
    mean = sum(reused) / len(reused) if reused else 0.0
    if mean <= limit_frac:
        return None
    return (
        f"{mean:.0%} of the {n}-word runs of the newest {len(reused)} analyses stand in the cases' own analyses, "
        f"limit {limit_frac:.0%}"
    )


def length_collapse(first_tok: Sequence[float], newest_tok: Sequence[float], limit_frac: float) -> str | None:
    """Trips where the newest completions are on average shorter than that share of the run's first ones."""
    if not (first_tok and newest_tok):
        return None
    first, newest = sum(first_tok) / len(first_tok), sum(newest_tok) / len(newest_tok)
    if newest >= limit_frac * first:
        return None
    return (
        f"completions shrank from {first:.0f} tokens (first {len(first_tok)}) to {newest:.0f} (newest "
        f"{len(newest_tok)}), limit {limit_frac:.0%}"
    )


def kl_jump(kl_nats: float | None, largest_nats: float | None, factor: float, least_nats: float) -> str | None:
    """Trips where the KL is that many times the largest of the steps before, and above least_nats."""
    if kl_nats is None or largest_nats is None or kl_nats <= least_nats or kl_nats <= factor * largest_nats:
        return None
    return (
        f"the KL to the initial model is {kl_nats:.3g} nats a completion, at most {largest_nats:.3g} before; "
        f"limit {factor:g} times that"
    )


def sampler_gap(gaps_nats: dict[str, float | None], limit_nats: float) -> str | None:
    """Trips where a gap between the sampler's and the trainer's log-probabilities is above the limit."""
    over = {name: gap for name, gap in gaps_nats.items() if gap is not None and gap > limit_nats}
    if not over:
        return None
    listed = ", ".join(f"{name} = {gap:.3g}" for name, gap in over.items())
    return f"the sampler's weights differ from the trainer's: {listed} nats a token, limit {limit_nats:g}"


def reward_without_safety(
    rewards: tuple[Sequence[float], Sequence[float]], answered: Sequence[tuple[bool, bool]], gain: float, floor: float
) -> str | None:
    """Trips where the reward rose by `gain`, and harmful probe requests are still answered and not shown to be fewer.

    rewards: the run's first and newest, of harmful requests. answered: (before, now) of each probe request that was
    scored both times. Still answered: the lower 95 % end is above `floor`. Not shown to be fewer: the paired 95 %
    interval of the difference holds 0.
    """
    first, newest = rewards
    if not (first and newest and answered):
        return None
    rise = sum(newest) / len(newest) - sum(first) / len(first)
    now = Rate.of(after for _, after in answered)
    fall = adjusted_difference([float(after) - float(before) for before, after in answered])
    if rise < gain or now.interval[0] <= floor or fall.high < 0.0:
        return None
    return (
        f"the reward rose by {rise:.2f} ({len(first)} first, {len(newest)} newest rows), and harmful probe requests "
        f"are answered as before: {shown(now)}, paired change {fall.value:+.0%} ({fall.low:+.0%} to {fall.high:+.0%})"
    )
