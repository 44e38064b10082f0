"""A number as a reader sees it, with the interval and the counts that belong to it; what is absent reads n/a."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """A value and, where there is one, the interval and the counts that belong to it, or why it is absent."""

    value: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.detail})" if self.detail else self.value


ABSENT = Cell("n/a")
WITHHELD = Cell("withheld")


@dataclass(frozen=True)
class Scale:
    """How one kind of number is written. factor: from the stored value, a fraction, to the shown one."""

    factor: int
    digits: int
    sign: str = ""
    unit: str = ""

    def text(self, value: float | None) -> str:
        """`42.0`, without the unit."""
        return ABSENT.value if value is None else f"{self.factor * value:{self.sign}.{self.digits}f}"

    def span(self, low: float, high: float) -> str:
        """`29.4 to 55.8`."""
        return f"{self.text(low)} to {self.text(high)}"

    def cell(self, value: float | None, low: float | None = None, high: float | None = None, *notes: str) -> Cell:
        """`42.0 % (29.4 to 55.8; 21/50)`: the 95 % interval where there is one, then counts and what else is known."""
        if value is None:
            return ABSENT
        interval = [] if low is None or high is None else [self.span(low, high)]
        return Cell(self.text(value) + self.unit, "; ".join([*interval, *(note for note in notes if note)]))


RATE = Scale(100, 1, unit=" %")
POINTS = Scale(100, 1, sign="+", unit=" points")
SCORE = Scale(1, 2)
REWARD = Scale(1, 2, sign="+")


def p_text(p: float | None, p_holm: float | None = None) -> str:
    """`0.030`, `< 0.001`; with the p-value adjusted by Holm in brackets, where there is one."""
    if p_holm is not None:
        return f"{p_text(p)} ({p_text(p_holm)})"
    return ABSENT.value if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
