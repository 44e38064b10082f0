"""One line of doctor: what was looked at, whether it is well, what was seen, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cada_trl.config import Config
from cada_trl.errors import UserError

Level = Literal["ok", "warning", "failed"]
Check = Callable[[Config], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """failed: the run would not start or not learn. warning: it may. todo is empty where nothing is to be done."""

    check: str
    level: Level
    seen: str
    todo: str = ""

    def line(self) -> str:
        """As it is printed."""
        return f"{self.level:<7}  {self.check:<12}  {self.seen}{'; ' + self.todo if self.todo else ''}"


def findings(name: str, check: Check, config: Config) -> Iterator[Finding]:
    """What the check finds; a UserError is a failed finding, since its one line says what to do."""
    try:
        yield from check(config)
    except UserError as error:
        yield Finding(name, "failed", str(error))
