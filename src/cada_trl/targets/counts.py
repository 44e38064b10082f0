"""How many targets were sampled, kept and dropped, and why: for the manifest, the page and an empty set's error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cada_trl.errors import UserError


def counts(n_fixed: int, rows: Sequence[dict[str, Any]], reasons: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """{"harmful" | "harmless": {"fixed", "sampled", "kept", "dropped": {reason: n}}}."""
    report = {}
    for name, is_harmful in (("harmful", True), ("harmless", False)):
        mine = [reason for row, reason in zip(rows, reasons, strict=True) if row["harmful"] == is_harmful]
        given = n_fixed if is_harmful else 0
        dropped = Counter(reason for reason in mine if reason)
        kept = given + sum(reason is None for reason in mine)
        report[name] = {"fixed": given, "sampled": len(mine), "kept": kept, "dropped": dict(dropped.most_common())}
    return report


def check_kept(report: dict[str, Any], with_harmless: bool) -> None:
    """Errors: UserError when nothing is left to learn from."""
    for name in ("harmful", "harmless") if with_harmless else ("harmful",):
        if not report[name]["kept"]:
            raise UserError(
                f"no target is left for {name} requests: {_words(report[name])}; "
                "look at targets.jsonl in the run folder, raise max_new_tok or choose another prompt or keep"
            )


def in_words(report: dict[str, Any]) -> str:
    """`kept 180 of 256 harmful (70 complied, 6 truncated), ...`."""
    return "; ".join(
        f"{name}: {_words(report[name])}"
        for name in ("harmful", "harmless")
        if report[name]["kept"] or report[name]["sampled"]
    )


def _words(part: dict[str, Any]) -> str:
    if part["fixed"]:
        return f"one fixed refusal for {part['fixed']} requests"
    dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in part["dropped"].items())
    return f"kept {part['kept']} of {part['sampled']} samples" + (f" (dropped: {dropped})" if dropped else "")
