"""A number as a reader sees it: the value, and what belongs to it; what is absent reads n/a."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """A value and, where there is one, the counts and the interval that belong to it, or why it is absent."""

    value: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.detail})" if self.detail else self.value


ABSENT = Cell("n/a")
