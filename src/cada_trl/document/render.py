"""How a document is shown: as one page that loads nothing from anywhere, as Markdown, and in the terminal.

Whatever its texts hold, they stay texts: no HTML, no broken table, no control character. Drawings stand as they are.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as TextTable

from cada_trl.console import Console
from cada_trl.document.blocks import Block, Bullets, Document, Facts, Figures, Fold, Heading, Table, Text
from cada_trl.numbers import Cell
from cada_trl.visible import visible

if TYPE_CHECKING:
    from jinja2 import Template

_NARROW = re.compile(r"[<+-]? ?\d[<\d.,:/%()\[\] n-]*")  # what a narrow column should not break


def html(document: Document, about: str = "") -> str:
    """The page. about: the line below its title."""
    return _page().render(document=document, about=about).lstrip()


@cache
def _page() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # no first line waits for it
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("cada_trl.document", "assets"),
        autoescape=True,
        finalize=lambda value: type(value)(visible(value)) if isinstance(value, str) else value,  # Markup stays Markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "uri": lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
        "drawn": Markup,
    }
    environment.tests |= {
        "cell": lambda value: isinstance(value, tuple),
        "narrow": lambda value: isinstance(value, str) and _NARROW.fullmatch(value) is not None,
    }
    return environment.get_template("page.html")


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


def show(document: Document, console: Console) -> None:
    """Print titles, sentences and tables."""
    if document.title:
        console.print(f"\n[bold]{escape(document.title)}[/bold]")
    for section in document.sections:
        console.print(f"\n[bold]{escape(section.title)}[/bold]")
        for block in section.blocks:
            match block:
                case Text(text) | Heading(text):
                    console.print(escape(text), highlight=False)
                case Bullets(sentences):
                    for sentence in sentences:  # whole: a path or a command in it can be copied
                        console.print(f"- {escape(sentence)}", highlight=False, soft_wrap=True)
                case Table(header=header, rows=rows):
                    text_table = TextTable(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
                    for name in header:
                        text_table.add_column(escape(name), overflow="fold")
                    for row in rows:
                        text_table.add_row(*(escape(str(cell)) for cell in row))
                    console.print(text_table)
