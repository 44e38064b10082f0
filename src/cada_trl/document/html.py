"""A document as one page that loads nothing from anywhere: every value is escaped, only drawings stand as they are, and
control characters are shown."""

from __future__ import annotations

import base64
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cada_trl.document.blocks import Document
from cada_trl.visible import visible

_NARROW = re.compile(r"[<+-]? ?\d[<\d.,:/%()\[\] n-]*")  # what a narrow column should not break

_ENVIRONMENT = Environment(
    loader=PackageLoader("cada_trl.document", "assets"),
    autoescape=True,
    finalize=lambda value: type(value)(visible(value)) if isinstance(value, str) else value,  # Markup stays Markup
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "kind": lambda block: type(block).__name__,
    "uri": lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
    "drawn": Markup,
}
_ENVIRONMENT.tests |= {
    "cell": lambda value: isinstance(value, tuple),
    "narrow": lambda value: isinstance(value, str) and _NARROW.fullmatch(value) is not None,
}


def html(document: Document, about: str = "") -> str:
    """The page. about: the line below its title."""
    values: dict[str, Any] = {"document": document, "about": about}
    return _ENVIRONMENT.get_template("page.html").render(values).lstrip()
