from __future__ import annotations

from cada_trl.document.markdown import bullets, heading, table


def test_a_cell_can_break_neither_the_table_nor_the_page() -> None:
    assert table(["a", "b"], [["x|y", "<b>\nz"]]) == "| a | b |\n| --- | --- |\n| x\\|y | &lt;b> z |"


def test_a_title_is_one_line() -> None:
    assert heading(2, "a\nb <i>") == "## a b &lt;i>"


def test_an_empty_list_says_so() -> None:
    assert bullets([]) == "- nothing"
