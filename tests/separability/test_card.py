from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.separability.card import card_file, read_card, rows_digest, write_card
from tests.separability.made_up import twins
from tests.separability.made_up_card import made_up_card


def test_a_written_card_is_read_back_the_same_and_nothing_else_is_left(tmp_path: Path) -> None:
    card = made_up_card()
    file = card_file(str(tmp_path / "data"), card.inputs)
    assert read_card(file) is None
    write_card(card, file)
    assert read_card(file) == card
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_file_is_named_by_what_decides_the_numbers() -> None:
    one = card_file("data", {"a": 1, "b": {"c": None}})
    assert one == card_file("data", {"b": {"c": None}, "a": 1})
    assert one != card_file("data", {"a": 2, "b": {"c": None}})


def test_the_rows_digest_is_of_texts_kinds_and_twins() -> None:
    rows = twins(3)
    first = rows_digest([rows])
    assert first == rows_digest([list(rows)])
    assert first == rows_digest([[dataclasses.replace(rows[0], id="another"), *rows[1:]]])
    for changes in ({"text": "another"}, {"harmful": False}, {"pair": None}):
        assert first != rows_digest([[dataclasses.replace(rows[0], **changes), *rows[1:]]])
    assert rows_digest([rows, []]) != rows_digest([[], rows])


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "card-01234567.json"
    for content in ("{", '{"layer": 3}'):
        file.write_text(content)
        with pytest.raises(UserError, match="is not a card of this version; delete it"):
            read_card(file)


def test_the_summary_keeps_every_pair_the_absent_too() -> None:
    summary = made_up_card().summary()
    assert [pair["absent"] for pair in summary["pairs"]] == [None, "sets/advbench/harmful_behaviors.csv"]
    assert summary["pairs"][0]["probe"]["auc"] == {"value": 0.86, "low": 0.83, "high": 0.89}
    assert "curve" not in summary and "inputs" not in summary
