"""The content of a document: sections of headings, texts, tables and figures. It knows nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cada_trl.numbers import Cell

Shown = str | Cell


@dataclass(frozen=True)
class Heading:
    """A title inside a section."""

    text: str
    level: int = 3


@dataclass(frozen=True)
class Text:
    """A paragraph; a warning stands out."""

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """One sentence a line; none reads `nothing`. A heading makes it a warning."""

    sentences: Sequence[str]
    warning: str = ""


@dataclass(frozen=True)
class Facts:
    """Label -> value."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """rows: a cell for each name of the header. title: for those who cannot see it.

    grouped: the first column is the group of rows that follow each other. strong: the column that is read first. prose:
    cells are sentences.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Shown]]
    grouped: bool = False
    strong: str = ""
    prose: bool = False

    @classmethod
    def of(cls, title: str, rows: Sequence[Mapping[str, Shown]], grouped: bool = False, strong: str = "") -> Table:
        """rows: column -> cell, the same columns in each."""
        return cls(title, list(rows[0]) if rows else [], [list(row.values()) for row in rows], grouped, strong)


@dataclass(frozen=True)
class Figures:
    """Pictures beside each other, each a caption and an SVG; file: the PNG of all of them, which Markdown shows."""

    pictures: Sequence[tuple[str, bytes]]
    file: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Drawing:
    """An SVG that stands in the page itself, so that its marks answer the pointer."""

    svg: str


@dataclass(frozen=True)
class Code:
    """A text as it is, on the page alone."""

    text: str


@dataclass(frozen=True)
class Fold:
    """What a reader opens on the page. brief: what stands for it elsewhere."""

    summary: str
    blocks: Sequence[Block]
    brief: Sequence[Block] = ()


@dataclass(frozen=True)
class PageOnly:
    """What stands on the page alone, as what quotes people and models does."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Side:
    """One answer to a request. word: its verdict, in the verdict's colour where `coloured`. texts: (label, text)."""

    title: str
    word: str = ""
    coloured: bool = False
    after: str = ""
    texts: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class Exchange:
    """A request, the prompts that were made of it, and the answers side by side; on the page alone.

    folded: what is read before it is opened; "" leaves it open.
    """

    request: str
    sides: Sequence[Side]
    prompts: Sequence[str] = ()
    folded: str = ""


@dataclass(frozen=True)
class Choices:
    """Rows that boxes show and hide, without a script; on the page alone.

    boxes: prefix -> {key: title}. rows: (its prefix-key classes, cells). passages: the columns of long texts.
    """

    title: str
    boxes: Mapping[str, Mapping[str, str]]
    header: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Shown]]]
    passages: Sequence[str] = ()


Block = Heading | Text | Bullets | Facts | Table | Figures | Drawing | Code | Fold | PageOnly | Exchange | Choices


@dataclass(frozen=True)
class Section:
    """id: where the page's contents lead to."""

    title: str
    blocks: Sequence[Block]
    id: str = ""


@dataclass(frozen=True)
class Document:
    """twin: the same content as plain values, for JSON. images: file name -> PNG that stands beside it."""

    title: str
    sections: Sequence[Section]
    twin: dict[str, Any] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
