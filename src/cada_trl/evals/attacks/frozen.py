"""Replays of published attack prompts: the same prompts for every model that is tested.

They were optimised against other models or against none, so they are transfer attacks. Sources, licences and victims
stand in hydra_conf/benchmark; no prompt is shipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import Attacked, Kind
from cada_trl.evals.benchmarks import FrozenPrompts, checked_file
from cada_trl.evals.items import Attempt, Item
from cada_trl.records import read_jsonl

Published = tuple[str, str]  # prompt, victim ("" for none)


class FrozenAttack:
    """The published prompt of each request, from the first of its victims for which there is one.

    A request is found by its exact text. Errors: UserError when the file is missing or not the published one.
    """

    kind: Kind = "frozen"
    transfer = True

    def __init__(self, name: str, frozen: FrozenPrompts, data_root: Path | None) -> None:
        self.name, self._source = name, frozen.source
        path = _checked_path(name, frozen, data_root)
        self._published, self._without_prompt = _published(frozen, name, path)
        decides = json.dumps([frozen.sha256, frozen.columns.model_dump(), frozen.attacks[name]])
        self.version = f"{name}-{hashlib.sha256(decides.encode()).hexdigest()[:8]}"

    def attempts(self, items: Sequence[Item]) -> Attacked:
        """One attempt an item whose request has a published prompt; the others are missing, with the reason."""
        attempts: list[Attempt] = []
        missing: dict[str, str] = {}
        for item in items:
            if item.request in self._published:
                prompt, victim = self._published[item.request]
                attempts.append(Attempt(item, self.name, prompt, self._note(item.request, prompt, victim)))
            elif item.request in self._without_prompt:
                missing[item.id] = f"the published {self.name} attack found no prompt for this request"
            else:
                missing[item.id] = f"no published {self.name} prompt for this wording of the request"
        return Attacked(attempts, missing)

    def _note(self, request: str, prompt: str, victim: str) -> str:
        made = f"made against {victim}" if victim else "made against no model"
        unchanged = "; the published prompt is the request itself" if prompt == request else ""
        return f"transfer, {made}, {self._source}{unchanged}"


def _checked_path(name: str, frozen: FrozenPrompts, data_root: Path | None) -> Path:
    if data_root is None or not (data_root / frozen.file).is_file():
        place = f"{data_root or '<data_root>'}/{frozen.file}"
        raise UserError(f"attack {name}: no file {place}; expected the prompts of {frozen.source} (docs/attacks.md)")
    return checked_file(data_root / frozen.file, frozen.sha256, frozen.source)


def _published(frozen: FrozenPrompts, name: str, path: Path) -> tuple[dict[str, Published], set[str]]:
    """(request -> prompt and victim, requests that are in the file without any prompt)."""
    columns, victims = frozen.columns, frozen.attacks[name] or [""]
    best: dict[str, tuple[int, Published]] = {}  # request -> place of the victim, what is published
    requests = set()
    for number, row in read_jsonl(path):
        for field in (columns.attack, columns.request):
            if not isinstance(row.get(field), str):
                raise UserError(f"{path}, row {number}: no text in field '{field}'; is it the published file?")
        victim = str(row.get(columns.victim)) if columns.victim and frozen.attacks[name] else victims[0]
        if row[columns.attack].lower() != name or victim not in victims:
            continue
        request, prompt, place = row[columns.request], row.get(columns.prompt), victims.index(victim)
        requests.add(request)
        if prompt and (request not in best or place < best[request][0]):
            best[request] = place, (str(prompt), victim)
    return {request: one for request, (_, one) in best.items()}, requests - set(best)
