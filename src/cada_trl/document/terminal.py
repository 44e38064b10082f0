"""A document in the terminal: titles, sentences and tables."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as TextTable

from cada_trl.console import Console
from cada_trl.document.blocks import Block, Bullets, Document, Heading, Table, Text


def show(document: Document, console: Console) -> None:
    """Print it."""
    for section in document.sections:
        console.print(f"\n[bold]{escape(section.title)}[/bold]")
        for block in section.blocks:
            _show(block, console)


def _show(block: Block, console: Console) -> None:
    match block:
        case Text(text) | Heading(text):
            console.print(escape(text), highlight=False)
        case Bullets(sentences):
            for sentence in sentences:
                console.print(escape(sentence), highlight=False)
        case Table():
            console.print(text_table(block))


def text_table(block: Table) -> TextTable:
    """The table as rich prints it."""
    table = TextTable(*map(escape, block.header), box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for row in block.rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table
