"""A row before it is a request, and the source it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cada_trl.data.normalise import normalise, text_hash
from cada_trl.errors import UserError


@dataclass(frozen=True)
class Row:
    """One text with what its source says of it; hazard is None until it is classified."""

    text: str
    where: str  # "file, row 12": shown in errors
    source: str
    harmful: bool = True
    hazard: str | None = None
    labels: tuple[str, ...] = ()  # BeaverTails categories
    id: str | None = None  # the source's own id; None takes one from the text
    pair: str | None = None  # the twin's pair: its partner has the same, and nothing else has

    @cached_property
    def key(self) -> str:
        """The comparison form of the text."""
        return normalise(self.text)


@dataclass(frozen=True)
class Source:
    """Rows kept, rows dropped while reading (harmful or harmless -> reason -> count) and where they come from."""

    rows: list[Row]
    dropped: dict[str, dict[str, int]]
    origin: dict[str, Any] = field(default_factory=dict)


def unique_rows(rows: Iterable[Row]) -> list[Row]:
    """One row a text, twins first, else in the order of the text's hash, so that the input's order decides nothing.

    Labels of the copies are joined. A copy of a twin gives way to it, so that the pair stays whole. Errors: UserError
    when two copies disagree on the hazard or on harmful; a copy that names no hazard does not disagree with a twin.
    """
    kept: dict[str, Row] = {}
    for row in rows:
        first = kept.setdefault(row.key, row)
        is_twin = (first.pair is not None, row.pair is not None)
        unnamed = any(is_twin) and None in (first.hazard, row.hazard)
        if not unnamed and (first.hazard, first.harmful) != (row.hazard, row.harmful):
            raise UserError(
                f"{row.where}: the same text as {first.where}, with hazard and harmful {row.hazard}, {row.harmful} "
                f"instead of {first.hazard}, {first.harmful}; keep one of them"
            )
        if any(is_twin):
            kept[row.key] = first if is_twin[0] else row
            continue
        # The smallest spelling and the union of the labels do not depend on which copy came first.
        smallest = min(first, row, key=lambda copy: (copy.text, copy.id or ""))
        kept[row.key] = replace(smallest, labels=tuple(sorted({*first.labels, *row.labels})))
    return sorted(kept.values(), key=lambda row: (row.pair is None, text_hash(row.text)))
