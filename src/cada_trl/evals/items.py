"""What an evaluation asks and what came back: item, attempt, response; each is a line of JSON on disk. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.digest import sha256


@dataclass(frozen=True)
class Item:
    """One row of a benchmark, unattacked.

    id is stable and unique within the benchmark ("strongreject-017"); hazard is a hazard id of the pack or None;
    category is the benchmark's own, "" if it has none; harmful=False marks a request that should be answered.
    """

    id: str
    benchmark: str
    request: str
    hazard: str | None
    category: str
    harmful: bool


@dataclass(frozen=True)
class Attempt:
    """One item as it is sent to the model: prompt is the request after the attack, note its provenance ("" if none)."""

    item: Item
    attack: str
    prompt: str
    note: str

    @property
    def id(self) -> str:
        """benchmark/item/attack: unique within an evaluation."""
        return f"{self.item.benchmark}/{self.item.id}/{self.attack}"

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of (id, prompt): another wording of the prompt is another attempt."""
        return sha256(json.dumps([self.id, self.prompt]))[:16]


@dataclass(frozen=True)
class Response:
    """What the model wrote to the attempt with this key; truncated: sampling stopped at max_new_tok.

    Analysis, final response and status are not stored: prompting.reasoning.split_reasoning derives them.
    """

    key: str
    completion: str
    completion_tok: int
    truncated: bool


_ITEM_TYPES = {
    "id": str,
    "benchmark": str,
    "request": str,
    "hazard": (str, type(None)),
    "category": str,
    "harmful": bool,
}
_ATTEMPT_TYPES = {"item": dict, "attack": str, "prompt": str, "note": str}
_RESPONSE_TYPES = {"key": str, "completion": str, "completion_tok": int, "truncated": bool}


def to_row(record: Item | Attempt | Response) -> dict[str, Any]:
    """The record as an object for a JSONL line. An attempt's row carries its key, to be found by eye."""
    row = asdict(record)
    return {"key": record.key, **row} if isinstance(record, Attempt) else row


def item_from_row(row: Mapping[str, Any]) -> Item:
    """Inverse of to_row. Errors: UserError names the missing or wrong field."""
    return Item(**_checked(row, _ITEM_TYPES, "item"))


def attempt_from_row(row: Mapping[str, Any]) -> Attempt:
    """Inverse of to_row. Errors: UserError for a missing or wrong field, and for a key that is not the prompt's."""
    values = _checked(row, _ATTEMPT_TYPES, "attempt")
    attempt = Attempt(**{**values, "item": item_from_row(values["item"])})
    if row.get("key") != attempt.key:
        raise UserError(
            f"attempt {attempt.id}: key {row.get('key')!r} is not that of its prompt ({attempt.key}); the row was "
            "edited or mixed up: restore the file or start in another folder"
        )
    return attempt


def response_from_row(row: Mapping[str, Any]) -> Response:
    """Inverse of to_row. Errors: UserError names the missing or wrong field."""
    return Response(**_checked(row, _RESPONSE_TYPES, "response"))


def _checked(row: Mapping[str, Any], types: Mapping[str, Any], what: str) -> dict[str, Any]:
    for field, expected in types.items():
        kinds = expected if isinstance(expected, tuple) else (expected,)
        if field not in row or type(row[field]) not in kinds:  # a bool is an int to isinstance
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise UserError(f"{what} row: field '{field}' is {row.get(field)!r}; expected {names}")
    return {field: row[field] for field in types}
