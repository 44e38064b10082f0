"""A row before it is a request, the source it came from, and the funnel: how many rows each filter dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cada_trl.data.likeness import normalise, text_hash
from cada_trl.document.blocks import Table
from cada_trl.errors import UserError
from cada_trl.storage.reading import Problems, check_characters


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

    def __post_init__(self) -> None:
        check_characters(self.text, self.where)

    @cached_property
    def key(self) -> str:
        return normalise(self.text)


@dataclass(frozen=True)
class Source:
    """Rows kept, rows dropped while reading (harmful or harmless -> reason -> count) and where they come from."""

    rows: list[Row]
    dropped: dict[str, dict[str, int]]
    origin: dict[str, Any] = field(default_factory=dict)


def unique_rows(rows: Iterable[Row]) -> list[Row]:
    """One row per text, twins first, else in the order of the text's hash, so that the input's order decides nothing.

    Labels of the copies are joined. A copy of a twin gives way to it, so that the pair stays whole. Errors: UserError
    with all copies that disagree on the hazard or on harmful; one that names no hazard does not disagree with a twin.
    """
    kept, problems = dict[str, Row](), Problems()
    for row in rows:
        first = kept.setdefault(row.key, row)
        is_twin = (first.pair is not None, row.pair is not None)
        unnamed = any(is_twin) and None in (first.hazard, row.hazard)
        if not unnamed and (first.hazard, first.harmful) != (row.hazard, row.harmful):
            problems.add(
                row.where,
                f"the same text as {first.where}, with hazard and harmful {row.hazard}, {row.harmful} "
                f"instead of {first.hazard}, {first.harmful}; keep one of them",
            )
        if any(is_twin):
            kept[row.key] = first if is_twin[0] else row
            continue
        # The smallest spelling and the union of the labels do not depend on which copy came first.
        smallest = min(first, row, key=lambda copy: (copy.text, copy.id or ""))
        kept[row.key] = replace(smallest, labels=tuple(sorted({*first.labels, *row.labels})))
    problems.end()
    return sorted(kept.values(), key=lambda row: (row.pair is None, text_hash(row.text)))


class Funnel:
    """Rows read, and rows dropped by reason in the order of the filters.

    Harmful and harmless rows are counted apart, and so are those of the twins that stand beside another source.
    """

    def __init__(self, own: Source, *beside: Source) -> None:
        self._beside = {row.source for source in beside for row in source.rows}
        sources = [(own, ""), *((source, "twins_") for source in beside)]
        names = [f"{prefix}{name}" for _, prefix in sources for name in ("harmful", "harmless")]
        self.dropped = {name: Counter[str]() for name in names}
        self.read = Counter(self.kind(row) for source, _ in sources for row in source.rows)
        for source, prefix in sources:
            for name, counts in source.dropped.items():
                self.read[prefix + name] += sum(counts.values())
                self.dropped[prefix + name].update(counts)

    def kind(self, row: Row) -> str:
        """The name that the row is counted under."""
        return ("twins_" if row.source in self._beside else "") + ("harmful" if row.harmful else "harmless")

    def keep(self, rows: Collection[Row], reason_to_drop: Callable[[Row], str | None]) -> list[Row]:
        """Rows without a reason to drop, whose twin has none either; the others are counted by it. Errors: UserError
        when no harmful row of the source is left."""
        reasons = [reason_to_drop(row) for row in rows]
        broken = {row.pair for row, reason in zip(rows, reasons, strict=True) if reason and row.pair is not None}
        kept = []
        for row, own_reason in zip(rows, reasons, strict=True):
            reason = own_reason or ("partner_dropped" if row.pair in broken else None)
            if reason is None:
                kept.append(row)
            else:
                self.dropped[self.kind(row)][reason] += 1
        if not any(self.kind(row) == "harmful" for row in kept):
            counts = ", ".join(f"{reason} {n}" for reason, n in (+self.dropped["harmful"]).items()) or "none"
            n_read = self.read["harmful"]
            raise UserError(f"no harmful row is left of {n_read} read; dropped: {counts}; loosen a filter")
        return kept

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: kind -> read, dropped by reason, kept."""
        return {
            name: {"read": self.read[name], "dropped": dict(+reasons), "kept": self.read[name] - reasons.total()}
            for name, reasons in self.dropped.items()
        }


def funnel_table(manifest: Mapping[str, Any]) -> Table | None:
    """What each filter dropped; None where the manifest's `funnel` is of another form, as of one's own data."""
    funnel = {
        name: part
        for name, part in (manifest.get("funnel") or {}).items()
        if isinstance(part, dict) and {"read", "dropped", "kept"} <= set(part)
    }
    parts = funnel.values()
    rows = [["read", *(str(part["read"]) for part in parts)]]
    for reason in dict.fromkeys(reason for part in parts for reason in part["dropped"]):
        counts = (str(part["dropped"].get(reason, "")) for part in parts)
        rows.append([f"dropped: {reason.replace('_', ' ')}", *counts])
    rows.append(["kept", *(str(part["kept"]) for part in parts)])
    return Table("What each filter dropped", ["Requests", *funnel], rows) if funnel else None
