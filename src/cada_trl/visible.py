"""Control characters as visible escapes: a text that people or models wrote steers no terminal and breaks no page."""

from __future__ import annotations

import re

# Every control but tab and line end, what turns the direction of writing, and halves of surrogate pairs.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")


def visible(text: str) -> str:
    r"""The text with `\x1b` where it holds an escape character, and so on."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
