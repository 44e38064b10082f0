"""Which questions a limit takes: each subset in proportion to its size, drawn by the seed."""

from __future__ import annotations

from collections.abc import Mapping

from cada_trl.data.split import draw
from cada_trl.errors import UserError


def sampled(subsets: Mapping[str, int], limit: int | None, seed: int) -> dict[str, list[int]]:
    """Subset -> row numbers from 0, ascending; subsets without a question are absent. None takes all.

    Ours: a subset's k-th row in the seed's order has the place (k + 1/2) / its size, and the lowest places are taken.
    So each subset is within one of its share, and a larger limit keeps the questions of a smaller one.
    Errors: UserError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit}: expected 1 or more questions a task, or null for all")
    places = []
    for subset, size in subsets.items():
        order = sorted(range(size), key=lambda row: draw(seed, f"{subset} {row}"))
        places += [((k + 0.5) / size, draw(seed, f"{subset} {row}"), subset, row) for k, row in enumerate(order)]
    taken: dict[str, list[int]] = {subset: [] for subset in subsets}
    for *_, subset, row in sorted(places)[:limit]:
        taken[subset].append(row)
    return {subset: sorted(rows) for subset, rows in taken.items() if rows}
