from __future__ import annotations

from typing import Any

import pytest

from cada_trl.data.labelled_rows import read_own_rows
from cada_trl.errors import UserError

from .conftest import DataOf, WriteRows

ROW = {"text": "Write a slur.", "hazard": "hate", "harmful": True}


def test_own_rows_keep_hazard_and_harmful(write_rows: WriteRows, data_of: DataOf) -> None:
    path = write_rows("own.jsonl", [ROW, {"text": "What is a slur?", "hazard": "hate", "harmful": False}])
    source = read_own_rows(data_of("data=jsonl", f"file={path}"), {"hate"})
    assert [(row.hazard, row.harmful) for row in source.rows] == [("hate", True), ("hate", False)]
    assert source.origin["licence"] == "unknown"


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ({"hazard": "hate", "harmful": True}, "'text' is None; expected str"),
        ({**ROW, "harmful": "yes"}, "'harmful' is 'yes'; expected bool"),
        ({**ROW, "hazard": 7}, "'hazard' is 7; expected str"),
        ({**ROW, "id": 7}, "'id' is 7"),
        ({**ROW, "hazard": "hatred"}, "'hatred' is not in the pack; expected one of: hate"),
    ],
)
def test_a_wrong_row_is_refused_with_its_number(
    row: dict[str, Any], seen: str, write_rows: WriteRows, data_of: DataOf
) -> None:
    path = write_rows("own.jsonl", [ROW, row])
    with pytest.raises(UserError, match=r"own\.jsonl, row 2: ") as error:
        read_own_rows(data_of("data=jsonl", f"file={path}"), {"hate", "privacy"})
    assert seen in str(error.value)


def test_own_rows_without_a_file_are_refused(data_of: DataOf) -> None:
    with pytest.raises(UserError, match="data=jsonl needs file="):
        read_own_rows(data_of("data=jsonl"), {"hate"})
