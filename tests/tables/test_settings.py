from __future__ import annotations

import pytest

from cada_trl.errors import UserError
from cada_trl.tables.settings import load_table_settings


def test_lists_are_written_with_commas_and_words_keep_their_equals_sign() -> None:
    settings = load_table_settings(["table=4", "seeds=0,2", "rows=none,cada", "train=max_steps=1,judge=rubric"])
    assert (settings.table, settings.seeds, settings.rows) == (4, ["0", "2"], ["none", "cada"])
    assert settings.train == ["max_steps=1", "judge=rubric"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table=5"], "table=5: Input should be 1, 2, 3 or 4"),
        (["seeds=0,0"], "seeds=0,0: expected numbers from 0, each once"),
        (["seeds=a"], "seeds=a: expected numbers from 0"),
        (["sedes=0"], "unknown key 'sedes'; did you mean seeds"),
        (["limit=0"], "limit=0: Input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_table_settings(words)


def test_a_folder_is_named_by_what_is_asked_and_not_by_where_it_is_kept() -> None:
    one = load_table_settings(["table=3"]).folder
    assert one.name.startswith("table3-smollm2-")
    assert load_table_settings(["table=3", "runs_dir=elsewhere"]).folder == one
    assert load_table_settings(["table=3", "tables_dir=here"]).folder.name == one.name
    others = ["limit=2", "seeds=0", "rows=cada", "train=max_steps=1", "model=llama3", "table=4"]
    assert len({load_table_settings([word]).folder for word in others} | {one}) == len(others) + 1
