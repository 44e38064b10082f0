"""The data manifest as a reader wants it: what was read, what each filter dropped, what was kept, how it was split."""

from __future__ import annotations

from typing import Any

FunnelRow = tuple[str, list[str]]


def funnel_table(data: dict[str, Any]) -> tuple[list[str], list[FunnelRow]]:
    """(column names, rows of label and counts) from the manifest's `funnel`; no rows where it holds none."""
    # A manifest of another shape (one's own data, another version) is still shown whole, just not as this table.
    funnel = {name: part for name, part in (data.get("funnel") or {}).items() if _is_part(part)}
    reasons = list(dict.fromkeys(reason for part in funnel.values() for reason in part["dropped"]))
    rows: list[FunnelRow] = [("read", [str(part["read"]) for part in funnel.values()])]
    rows += [
        (f"dropped: {reason.replace('_', ' ')}", [str(part["dropped"].get(reason, "")) for part in funnel.values()])
        for reason in reasons
    ]
    rows.append(("kept", [str(part["kept"]) for part in funnel.values()]))
    return list(funnel), rows if funnel else []


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and {"read", "dropped", "kept"} <= set(part)


def split_sizes(data: dict[str, Any]) -> str:
    """`train 120, probe 36, ...`, requests in each part of the split."""
    return ", ".join(f"{name} {part['n']}" for name, part in (data.get("split") or {}).items())


def unchecked_overlap(data: dict[str, Any]) -> str | None:
    """A sentence where the training requests were not compared with the evaluation sets."""
    if (data.get("decontamination") or {}).get("checked"):
        return None
    return "The training requests were not checked for overlap with any evaluation set (benchmarks_dir was not given)."
