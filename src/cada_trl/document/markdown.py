"""Markdown that stays what it is whatever its texts hold: no HTML, no broken table, one line a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cada_trl.document.blocks import Block, Bullets, Document, Facts, Figures, Fold, Heading, Section, Table, Text


def markdown(document: Document) -> str:
    """The document without what it quotes; what is folded on the page has one line here, or none."""
    return "\n\n".join([heading(1, document.title), *map(section_markdown, document.sections)]) + "\n"


def section_markdown(section: Section) -> str:
    """One section, its title at level 2."""
    return "\n\n".join([heading(2, section.title), *(text for block in section.blocks if (text := _block(block)))])


def _block(block: Block) -> str:
    text = ""
    match block:
        case Heading(title, level):
            text = heading(level, title)
        case Text(sentence, tone):
            text = quote(sentence) if tone == "warning" else line(sentence)
        case Bullets(sentences, warning):
            text = "\n\n".join(quote(f"{warning}: {one}.") for one in sentences) if warning else bullets(sentences)
        case Facts(values):
            text = table(["", ""], values.items())
        case Table(header=header, rows=rows):
            text = table(header, rows)
        case Figures(file=file, alt=alt) if file:
            text = f"![{line(alt)}]({file})"
        case Fold(brief=brief):
            text = line(brief)
    return text


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
