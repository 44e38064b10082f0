"""What an attack is: items in, one prompt each out, and the reason where there is none. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.items import Attempt

Kind = Literal["none", "frozen", "transform", "generated"]


class NotRun(UserError):
    """This benchmark has no such attack; beside other benchmarks it is reported as not run, with this line."""


class NoPrompts(UserError):
    """The benchmark has the attack, and the file with its published prompts is not here; reported as NotRun."""


@dataclass(frozen=True)
class Attacked:
    """The attempts, in the items' order, and item id -> why it has none. Every item is in one of the two."""

    attempts: list[Attempt]
    missing: dict[str, str]


class Attack(Protocol):
    """Turns requests into prompts.

    transfer: the prompts were optimised against another model than the tested one, so that a low success rate bounds
    nothing. version changes whenever the prompts of the same items may change: it decides an evaluation's folder.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def transfer(self) -> bool: ...
    @property
    def version(self) -> str: ...

    def attempts(self, items: Sequence[Item]) -> Attacked:
        """At most one attempt per item. Errors: UserError when the attack as a whole cannot be had."""
        ...
