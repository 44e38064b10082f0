"""Markdown that stays what it is whatever its texts hold: no HTML, no broken table, one line a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def heading(level: int, text: str) -> str:
    """A title; level 1 is the page's."""
    return f"{'#' * level} {line(text)}"


def quote(text: str) -> str:
    """A sentence that stands out."""
    return f"> {line(text)}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell may be anything that has a text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line(str(cell)).replace("|", "\\|") for cell in row) + " |" for row in lines)


def bullets(sentences: Iterable[str]) -> str:
    """One sentence a line, or that there is nothing."""
    return "\n".join(f"- {line(sentence)}" for sentence in sentences) or "- nothing"


def line(text: str) -> str:
    """The text in one line, without a start of HTML."""
    return " ".join(text.replace("<", "&lt;").split())
