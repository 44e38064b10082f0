"""cada: the verbs as one console command. `cada train ...` is `python -m cada_trl.train ...`.

cada --help            (the verbs)
cada train --help      (the verb's keys, with their defaults and sources)
"""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

from cada_trl.errors import UserError, run_verb

_HELP = ("-h", "--help")
# in the order of a run
_NAMES = (
    *("doctor", "rehearse", "data", "policy", "prepare", "card", "train", "evaluate", "utility", "faithfulness"),
    *("sweep", "table", "tamper", "report", "certificate", "export-eval", "why", "export", "chat", "judge-card"),
)
_OTHERWISE_NAMED = {"data": "data.fetch", "export-eval": "export_eval", "judge-card": "judging.calibrate"}
VERBS = {name: _OTHERWISE_NAMED.get(name, name) for name in _NAMES}


def main() -> None:
    """The console command: replaces this process by the verb's."""
    run_verb(_main)


def _main(argv: list[str]) -> int:
    verb, *words = argv or _HELP
    if verb in _HELP:
        print(overview())
        return 0
    if verb not in VERBS:
        from cada_trl.config.loading import nearest

        raise UserError(f"no verb '{verb}'; {nearest(verb, VERBS)}")
    os.execv(sys.executable, [sys.executable, "-m", f"cada_trl.{VERBS[verb]}", *words])


def overview() -> str:
    """The verbs, a line each. No verb is imported."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {summary(module)}" for verb, module in VERBS.items()]
    return "\n".join(["usage: cada VERB ...   (cada VERB --help: its keys, their defaults and sources)", "", *lines])


def summary(module: str) -> str:
    """The first line of the module's docstring, without the verb's name."""
    place = Path(__file__).parent.joinpath(*module.split("."))
    file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
    return first.partition(": ")[2] or first
