"""How many rows each filter dropped: the funnel from the source to the request set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from cada_trl.data.rows import Row, Source
from cada_trl.errors import UserError


def kind(row: Row) -> str:
    """The funnel keeps two counts: of harmful requests and of harmless look-alikes."""
    return "harmful" if row.harmful else "harmless"


class Funnel:
    """Rows read, and rows dropped by reason in the order of the filters, for harmful and harmless rows."""

    def __init__(self, sources: Collection[Source]) -> None:
        self.read = Counter(kind(row) for source in sources for row in source.rows)
        self.dropped = {name: Counter[str]() for name in ("harmful", "harmless")}
        for source in sources:
            # Only BeaverTails drops while reading: rows labelled safe or child_abuse, from among its harmful ones.
            self.read["harmful"] += sum(source.dropped.values())
            self.dropped["harmful"].update(source.dropped)

    def keep(self, rows: Collection[Row], reason_to_drop: Callable[[Row], str | None]) -> list[Row]:
        """Rows without a reason to drop; the others are counted by it. Errors: UserError when no harmful is left."""
        kept = []
        for row in rows:
            reason = reason_to_drop(row)
            if reason is None:
                kept.append(row)
            else:
                self.dropped[kind(row)][reason] += 1
        if not any(row.harmful for row in kept):
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
