from __future__ import annotations

from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.json_record import JsonRecord


class Point(JsonRecord):
    x: float
    name: str | None


def test_it_comes_back_as_it_was() -> None:
    point = Point(x=0.5, name=None)
    assert point.to_json() == {"x": 0.5, "name": None}
    assert Point.from_json(point.to_json()) == point


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"x": 1.0}, "point: name"),
        ({"x": "far", "name": None}, "point: x"),
        ({"x": float("nan"), "name": None}, "point: x"),
        ({"x": 1.0, "name": None, "y": 2.0}, "point: y"),
        ([1.0], "point: the whole"),
    ],
)
def test_what_is_missing_wrong_undefined_or_unknown_is_named(values: Any, where: str) -> None:
    with pytest.raises(UserError, match=where):
        Point.from_json(values)
