"""How intervals over seeds came about: pooled over what, with which degrees of freedom, or why none."""

from __future__ import annotations

from collections.abc import Sequence

from cada_trl.statistics import MIN_DF, PooledSpread


def pooled_words(spread: PooledSpread) -> str:
    """What was pooled, with its degrees of freedom, or why it was not; nothing where no configuration has two seeds."""
    if spread.df == 0:
        return ""
    if not spread.informative:
        return (
            f"No interval over seeds: {_counts(spread)}, and below {MIN_DF} it would span most of what is possible. "
            "The seeds are shown alone, with the lowest and the highest in the text."
        )
    return (
        f"95 % intervals over seeds: variance pooled over {_counts(spread)}. This takes the seeds of each "
        "configuration to spread alike (ours: two or three seeds cannot tell their own spread); a configuration with "
        "one seed borrows it."
    )


def pooled_note(spreads: Sequence[tuple[str, PooledSpread]]) -> str:
    """The sentence once where it holds for all of the (name, spread), else one for each with its name."""
    told = {name: pooled_words(spread) for name, spread in spreads}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return " ".join(f"{name}: {words}" for name, words in told.items() if words)


def pooled_counts(spread: PooledSpread) -> str:
    """`variance pooled over 4 configurations, 8 seeds, 4 degrees of freedom`, for a picture."""
    return f"variance pooled over {_counts(spread)}"


def _counts(spread: PooledSpread) -> str:
    configurations = f"{spread.n_configurations} configuration{'s' if spread.n_configurations > 1 else ''}"
    return f"{configurations}, {spread.n_seeds} seeds, {spread.df} degree{'s' if spread.df > 1 else ''} of freedom"
