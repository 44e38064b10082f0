"""Markdown that stays what it is whatever its texts hold: no HTML, no broken table, one line a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cada_trl.document.blocks import Block, Bullets, Document, Facts, Figures, Fold, Heading, Table, Text
from cada_trl.numbers import Cell
from cada_trl.visible import visible


def markdown(document: Document) -> str:
    """The document without what it quotes; what is folded on the page has one line here, or none."""
    texts = [heading(1, document.title)]
    for section in document.sections:
        blocks = _blocks(section.blocks)
        texts += [heading(2, section.title), *blocks] if blocks else []
    return "\n\n".join(texts) + "\n"


def _blocks(blocks: Sequence[Block]) -> list[str]:
    return [text for block in blocks if (text := _block(block))]


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
        case Table():
            text = table(block.header, _named_once(block) if block.grouped else block.rows)
        case Figures(file=file, alt=alt) if file:
            text = f"![{line(alt)}]({file})"
        case Fold(brief=brief):
            text = "\n\n".join(_blocks(brief))
    return text


def _named_once(block: Table) -> Iterator[list[object]]:
    """A group's detail stands in its first row."""
    last: object = None
    for row in block.rows:
        group = row[0].value if row[0] == last and isinstance(row[0], Cell) else row[0]
        yield [group, *row[1:]]
        last = row[0]


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
    """The text in one line, without a start of HTML or a control character."""
    return visible(" ".join(text.replace("<", "&lt;").split()))
