"""One thing that two folders do not share, and what that means for comparing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ABSENT = "absent"


class Meaning(StrEnum):
    """What a difference does to a comparison."""

    RESULT = "decides the result: another experiment"
    SEED = "another draw of the same experiment"
    MEASURED = "decides what is asked or how it is judged, not what was learned"
    CODE = "may decide the result: read what changed"
    PLACE = "only where and how it is computed: equal up to rounding"
    WRITTEN = "only what is written and where"


@dataclass(frozen=True)
class Difference:
    """what: a dotted key, or a name in words; a, b: the two values, ABSENT where one side has none."""

    what: str
    a: Any
    b: Any
    meaning: Meaning


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; an empty mapping has none."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any], meanings: Mapping[str, Meaning]) -> list[Difference]:
    """The dotted keys whose values differ, in the first's order; a key's meaning is that of its longest known prefix.

    meanings: dotted prefix -> meaning; "" is everything else.
    """
    left, right = flat(a), flat(b)
    return [
        Difference(key, left.get(key, ABSENT), right.get(key, ABSENT), meaning_of(key, meanings))
        for key in dict.fromkeys([*left, *right])
        if left.get(key, ABSENT) != right.get(key, ABSENT)
    ]


def meaning_of(key: str, meanings: Mapping[str, Meaning]) -> Meaning:
    """The meaning of the longest prefix that ends at a dot of the key, or is the key."""
    parts = key.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), -1, -1)]
    return next(meanings[prefix] for prefix in prefixes if prefix in meanings)
