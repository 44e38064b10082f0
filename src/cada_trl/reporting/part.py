"""A part of the report, made by one kind of folder: the same content for the page, its Markdown and its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Part:
    """names: the folders. contents: (id, title) of the sections that html holds. twin: keys of report.json.

    images: file name -> PNG beside the page.
    """

    names: list[str]
    contents: list[tuple[str, str]]
    html: Markup
    markdown: str
    twin: dict[str, Any]
    images: dict[str, bytes] = field(default_factory=dict)
