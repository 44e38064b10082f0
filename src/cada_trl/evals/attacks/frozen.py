"""Replays of published attack prompts: the same prompts for every model that is tested.

They were optimised against other models or against none, so they are transfer attacks. Sources, licences and victims
stand in hydra_conf/benchmark; no prompt is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import Attacked, Kind
from cada_trl.evals.benchmarks import BenchmarkSpec, FrozenColumns, FrozenPrompts, checked_file, item_id
from cada_trl.evals.items import Attempt, Item
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import sha256


@dataclass(frozen=True)
class Published:
    """One row of the file; prompt is "" where the attack found none, victim is "" where it had none."""

    request: str
    prompt: str
    victim: str


class FrozenAttack:
    """The published prompt of each request, from the first of its victims for which there is one.

    Errors: UserError when the file is missing, is not the published one or lacks a column.
    """

    kind: Kind = "frozen"
    transfer = True

    def __init__(self, name: str, spec: BenchmarkSpec, data_root: Path | None) -> None:
        if spec.frozen is None:
            raise ValueError(f"{spec.name} describes no attack prompts")
        self.name, self._frozen = name, spec.frozen
        self._published = _read(name, spec.name, spec.frozen, _checked_path(name, spec.frozen, data_root))
        columns, victims = spec.frozen.columns.model_dump(), spec.frozen.attacks[name]
        decides = json.dumps([spec.frozen.sha256, columns, victims])
        self.version = f"{name}-{sha256(decides)[:8]}"

    def attempts(self, items: Sequence[Item]) -> Attacked:
        """One attempt an item that has a published prompt; the others are missing, with the reason."""
        attempts: list[Attempt] = []
        missing: dict[str, str] = {}
        for item in items:
            row = self._published.get(item.request if self._frozen.columns.id is None else item.id)
            if row is None:
                missing[item.id] = f"no published {self.name} prompt for this request"
            elif not row.prompt:
                missing[item.id] = f"the published {self.name} attack found no prompt for this request"
            else:
                attempts.append(Attempt(item, self.name, row.prompt, self._note(item, row)))
        return Attacked(attempts, missing)

    def _note(self, item: Item, row: Published) -> str:
        parts = ["transfer", f"made against {row.victim or 'no model'}", self._frozen.source]
        if row.request != item.request:
            parts.append("made for an earlier wording of the request")
        if row.prompt == item.request:
            parts.append("the published prompt is the request itself")
        return ", ".join(parts)


def _checked_path(name: str, frozen: FrozenPrompts, data_root: Path | None) -> Path:
    if data_root is None or not (data_root / frozen.file).is_file():
        place = f"{data_root or '<data_root>'}/{frozen.file}"
        raise UserError(f"attack {name}: no file {place}; expected the prompts of {frozen.source} (docs/benchmarks.md)")
    return checked_file(data_root / frozen.file, frozen.sha256, frozen.source)


def _read(name: str, benchmark: str, frozen: FrozenPrompts, path: Path) -> dict[str, Published]:
    """Request or item id -> the attack's row: the preferred victim's among those with a prompt."""
    columns, victims = frozen.columns, frozen.attacks[name]
    best: dict[str, tuple[bool, int, Published]] = {}  # without a prompt, place of the victim, row: the least counts
    for number, row in read_jsonl(path):
        _check_fields(f"{path}, row {number}", row, columns)
        victim = row[columns.victim] if victims and columns.victim else (victims or [""])[0]
        if row[columns.attack].lower() != name or (victims and victim not in victims):
            continue
        one = Published(row[columns.request], row[columns.prompt] or "", victim)
        key = one.request if columns.id is None else item_id(benchmark, str(row[columns.id]))
        rank = (not one.prompt, victims.index(victim) if victims else 0)
        if key not in best or rank < best[key][:2]:
            best[key] = (*rank, one)
    return {key: one for key, (_, _, one) in best.items()}


def _check_fields(where: str, row: dict[str, Any], columns: FrozenColumns) -> None:
    lacking = [field for field in columns.model_dump().values() if field is not None and field not in row]
    if lacking:
        raise UserError(f"{where}: no field '{lacking[0]}'; is it the published file?")
