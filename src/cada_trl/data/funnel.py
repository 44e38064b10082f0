"""How many rows each filter dropped: the funnel from the source to the request set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from cada_trl.data.rows import Row, Source
from cada_trl.errors import UserError

PARTNER_DROPPED = "partner_dropped"


class Funnel:
    """Rows read, and rows dropped by reason in the order of the filters.

    Harmful and harmless rows are counted apart, and so are those of the twins that stand beside another source.
    """

    def __init__(self, own: Source, beside: Source | None = None) -> None:
        self._beside = {row.source for row in beside.rows} if beside else set()
        sources = [(own, ""), *([(beside, "twins_")] if beside else [])]
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
        """Rows without a reason to drop, whose twin has none either; the others are counted by it.

        Errors: UserError when no harmful row of the source is left.
        """
        reasons = [reason_to_drop(row) for row in rows]
        broken = {row.pair for row, reason in zip(rows, reasons, strict=True) if reason and row.pair is not None}
        kept = []
        for row, own_reason in zip(rows, reasons, strict=True):
            reason = own_reason or (PARTNER_DROPPED if row.pair in broken else None)
            if reason is None:
                kept.append(row)
            else:
                self.dropped[self.kind(row)][reason] += 1
        if not any(self.kind(row) == "harmful" for row in kept):
            counts = ", ".join(f"{reason} {n}" for reason, n in self.dropped["harmful"].items() if n)
            n_read = self.read["harmful"]
            raise UserError(f"no harmful row is left of {n_read} read; dropped: {counts or 'none'}; loosen a filter")
        return kept

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: kind -> read, dropped by reason, kept."""
        return {name: self._count(name) for name in self.dropped}

    def _count(self, name: str) -> dict[str, Any]:
        dropped = {reason: n for reason, n in self.dropped[name].items() if n}
        return {"read": self.read[name], "dropped": dropped, "kept": self.read[name] - sum(dropped.values())}
