"""Slices with too few items to be read: folded away on the page, named in one line of Markdown, whole in the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

LEAST_N = 10  # ours: below it every Wilson interval is 30 points wide or more (0 of 9: 0 to 30 %)
Row = TypeVar("Row")


def split_small(rows: Iterable[Row], n_of: Callable[[Row], int]) -> tuple[list[Row], list[Row]]:
    """(shown, folded), each in the order given. n_of: items scored; of several evaluations side by side the most."""
    listed = list(rows)
    return [row for row in listed if n_of(row) >= LEAST_N], [row for row in listed if n_of(row) < LEAST_N]


def folded_words(n_slices: int) -> str:
    """The title of the fold; nothing where there are none."""
    return f"{n_slices} slice{'' if n_slices == 1 else 's'} with n < {LEAST_N}: folded" if n_slices else ""


def folded_names(names: Sequence[str]) -> str:
    """The line of Markdown: `3 slices with n < 10: folded (hate, privacy, weapons)`."""
    return f"{folded_words(len(names))} ({', '.join(names)})" if names else ""
