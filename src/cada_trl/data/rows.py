"""A row before it is a request, and the source it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

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

    @cached_property
    def key(self) -> str:
        """The comparison form of the text."""
        return normalise(self.text)


@dataclass(frozen=True)
class Source:
    """Rows kept, rows dropped while reading (reason -> count) and where they come from, for the manifest."""

    rows: list[Row]
    dropped: dict[str, int]
    origin: dict[str, str | None] = field(default_factory=dict)


def unique_rows(rows: Iterable[Row]) -> list[Row]:
    """One row a text, in the order of the text's hash, so that the input's order decides nothing.

    Labels of the copies are joined. Errors: UserError when two copies disagree on the hazard or on harmful.
    """
    kept: dict[str, Row] = {}
    for row in rows:
        first = kept.setdefault(row.key, row)
        if (first.hazard, first.harmful) != (row.hazard, row.harmful):
            raise UserError(
                f"{row.where}: the same text as {first.where}, with hazard and harmful {row.hazard}, {row.harmful} "
                f"instead of {first.hazard}, {first.harmful}; keep one of them"
            )
        # The smallest spelling and the union of the labels do not depend on which copy came first.
        smallest = min(first, row, key=lambda copy: (copy.text, copy.id or ""))
        kept[row.key] = replace(smallest, labels=tuple(sorted({*first.labels, *row.labels})))
    return sorted(kept.values(), key=lambda row: text_hash(row.text))
