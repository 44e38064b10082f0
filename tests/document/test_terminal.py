from __future__ import annotations

import io

from rich.console import Console

from cada_trl.document.blocks import Bullets, Document, Section, Table, Text
from cada_trl.document.terminal import show
from cada_trl.numbers import Cell


def test_titles_sentences_and_tables_are_printed_and_none_of_them_is_rich_markup() -> None:
    table = Table("t", ["name", "rate [95 %]"], [["[red]a", Cell("1 %", "n 9")]])
    file = io.StringIO()
    document = Document("d", [Section("One [1]", [Text("[bold]x"), Bullets(["y [/]"]), table])])
    show(document, Console(file=file, width=80))
    text = file.getvalue()
    for part in ("One [1]", "[bold]x", "y [/]", "rate [95 %]", "[red]a", "1 % (n 9)"):
        assert part in text
