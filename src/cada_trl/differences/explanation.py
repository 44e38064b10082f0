"""What is said of two folders: sections of sentences and one table each, for the terminal, Markdown and JSON alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cada_trl.differences.difference import Difference, Meaning
from cada_trl.document import markdown

_SHOWN_CHARACTERS = 90


@dataclass(frozen=True)
class Section:
    """sentences, then a table with a header; rows may be none."""

    title: str
    sentences: list[str]
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Explanation:
    """names: the two folders'. twin: the same content as plain values, for why.json."""

    names: tuple[str, str]
    sections: list[Section]
    twin: dict[str, Any]

    def show(self, console: Console) -> None:
        """Print it."""
        for section in self.sections:
            console.print(f"\n[bold]{escape(section.title)}[/bold]")
            for sentence in section.sentences:
                console.print(escape(sentence), highlight=False)
            if section.rows:
                table = Table(*section.header, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
                for row in section.rows:
                    table.add_row(*map(escape, row))
                console.print(table)

    def markdown(self) -> str:
        """The same as a page of Markdown."""
        parts = [markdown.heading(1, f"Why {self.names[0]} and {self.names[1]} differ")]
        for section in self.sections:
            parts += [markdown.heading(2, section.title)]
            parts += [markdown.bullets(section.sentences)] if section.sentences else []
            parts += [markdown.table(section.header, section.rows)] if section.rows else []
        return "\n\n".join(parts) + "\n"


def difference_section(
    title: str, found: Sequence[Difference], names: Sequence[str], sentences: Sequence[str] = ()
) -> Section:
    """A row a difference, with what it means."""
    said = [*sentences, *([] if found else ["No difference."])]
    rows = [[one.what, shown(one.a), shown(one.b), str(one.meaning)] for one in found]
    return Section(title, said, ["", *names, "Meaning"], rows)


def experiment_sentence(config: Sequence[Difference]) -> str:
    """Whether the two are one experiment, by their configurations."""
    deciding = [one.what for one in config if one.meaning is Meaning.RESULT]
    if deciding:
        more = f" and {len(deciding) - 5} more" if len(deciding) > 5 else ""
        return f"Two experiments: they differ in {', '.join(deciding[:5])}{more}, which decides the result."
    if any(one.meaning is Meaning.SEED for one in config):
        return "One experiment, two seeds: nothing else that decides the result differs in the configuration."
    return "One experiment: no key that decides the result differs."


def shown(value: Any) -> str:
    """A value in a cell, cut to a readable length."""
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
