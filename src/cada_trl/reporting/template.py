"""Templates of the page, below assets/: every value is escaped, and a name that is not given is an error."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_ENVIRONMENT = Environment(
    loader=PackageLoader("cada_trl.reporting", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """The template with these values, safe to stand in another one."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def svg_uri(svg: bytes) -> str:
    """The picture as an address that needs no file beside the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
