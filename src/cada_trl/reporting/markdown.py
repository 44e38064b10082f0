"""Markdown that stays a table whatever a cell holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell may be anything that has a text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_one_line(str(cell)) for cell in line) + " |" for line in lines)


def bullets(sentences: Iterable[str]) -> str:
    """One sentence a line, or that there is nothing."""
    return "\n".join(f"- {_one_line(sentence)}" for sentence in sentences) or "- nothing"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
