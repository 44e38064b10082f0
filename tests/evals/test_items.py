from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.items import (
    Attempt,
    Item,
    Response,
    attempt_from_row,
    item_from_row,
    response_from_row,
    to_row,
)

ITEM = Item("set-001", "set", 'How is "tea" made?\nPlease.', None, "drinks", harmful=False)
ATTEMPT = Attempt(ITEM, "none", ITEM.request, "")
RESPONSE = Response(ATTEMPT.key, "### Analysis\n…", 7, truncated=True)


def through_json(record: Item | Attempt | Response) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(json.dumps(to_row(record)))
    return row


def test_records_come_back_as_they_were() -> None:
    assert item_from_row(through_json(ITEM)) == ITEM
    assert attempt_from_row(through_json(ATTEMPT)) == ATTEMPT
    assert response_from_row(through_json(RESPONSE)) == RESPONSE


def test_an_attempts_key_is_the_hash_of_its_id_and_prompt() -> None:
    assert ATTEMPT.id == "set/set-001/none"
    content = json.dumps(["set/set-001/none", ITEM.request]).encode()
    assert ATTEMPT.key == to_row(ATTEMPT)["key"] == hashlib.sha256(content).hexdigest()[:16]


def test_another_prompt_or_attack_is_another_attempt_and_another_note_is_not() -> None:
    others = [Attempt(ITEM, "none", "Tea?", ""), Attempt(ITEM, "base64", ITEM.request, "")]
    assert len({ATTEMPT.key, *(other.key for other in others)}) == 3
    assert Attempt(ITEM, "none", ITEM.request, "seen elsewhere").key == ATTEMPT.key


def test_half_of_a_surrogate_pair_has_a_key() -> None:
    assert len(Attempt(ITEM, "none", "\ud83d", "").key) == 16


def test_an_edited_prompt_is_refused() -> None:
    row = to_row(ATTEMPT) | {"prompt": "How is coffee made?"}
    with pytest.raises(UserError, match=r"attempt set/set-001/none: key '\w{16}' is not that of its prompt"):
        attempt_from_row(row)


@pytest.mark.parametrize(
    ("read", "record", "change", "seen"),
    [
        (item_from_row, ITEM, {"harmful": "no"}, "item row: field 'harmful' is 'no'; expected bool"),
        (item_from_row, ITEM, {"hazard": 3}, "field 'hazard' is 3; expected str or null"),
        (attempt_from_row, ATTEMPT, {"item": None}, "attempt row: field 'item' is None; expected dict"),
        (response_from_row, RESPONSE, {"completion_tok": 1.5}, "field 'completion_tok' is 1.5; expected int"),
        (response_from_row, RESPONSE, {"completion_tok": True}, "field 'completion_tok' is True; expected int"),
    ],
)
def test_a_wrong_field_is_named(read: Any, record: Any, change: dict[str, Any], seen: str) -> None:
    with pytest.raises(UserError, match=seen):
        read(to_row(record) | change)


def test_a_missing_field_is_named() -> None:
    row = to_row(RESPONSE)
    del row["truncated"]
    with pytest.raises(UserError, match="response row: field 'truncated' is None; expected bool"):
        response_from_row(row)


def test_a_field_of_a_later_version_is_left_out() -> None:
    assert response_from_row(to_row(RESPONSE) | {"finish_reason": "stop"}) == RESPONSE
