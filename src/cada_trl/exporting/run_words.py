"""`RUN key=value ...`: the command line of the verbs that take one run folder."""

from __future__ import annotations

from typing import TypeVar

from cada_trl.config.loading import Section, check_values
from cada_trl.errors import UserError

Settings = TypeVar("Settings", bound=Section)


def run_words(argv: list[str], schema: type[Settings]) -> Settings:
    """The words as the schema, which has a field `run`. Errors: UserError without one run, or for a wrong key."""
    runs = [word for word in argv if "=" not in word]
    if len(runs) != 1 or runs[0].startswith("-"):
        raise UserError(f"got {' '.join(argv) or 'nothing'}; expected one run folder and key=value, as in runs/NAME")
    values = dict(word.split("=", 1) for word in argv if "=" in word)
    return check_values(schema, {**values, "run": runs[0]})
