"""An attacker that answers by a script."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cada_trl.errors import UserError
from cada_trl.prompting.arms import Messages


class ScriptedModel:
    """A ChatModel whose script sees the conversation; remembers what it was asked."""

    def __init__(self, script: Callable[[Messages], str], reachable: bool = True) -> None:
        self.script, self.reachable = script, reachable
        self.asked: list[Messages] = []
        self.n_checks = 0
        self._lock = threading.Lock()

    def complete(self, messages: Messages, max_tok: int, temperature: float) -> str:
        with self._lock:
            self.asked.append(messages)
        return self.script(messages)

    def check_reachable(self) -> None:
        self.n_checks += 1
        if not self.reachable:
            raise UserError("attacker model-a at http://127.0.0.1:9/v1: nothing answers there")
