import pytest

from cada_trl.data.rows import Row, unique_rows
from cada_trl.errors import UserError


def test_copies_become_one_row_with_the_labels_of_all() -> None:
    rows = [Row("Hit him!", "f, row 1", "s", labels=("b",)), Row("hit HIM", "f, row 2", "s", labels=("a",))]
    assert [(row.text, row.labels) for row in unique_rows(rows)] == [("Hit him!", ("a", "b"))]


def test_the_order_of_the_input_decides_nothing() -> None:
    rows = [
        Row(text, "f", "s", labels=(label,)) for text, label in [("One", "a"), ("one", "b"), ("two", "c"), ("3", "d")]
    ]
    seen = [(row.text, row.labels) for row in unique_rows(rows)]
    assert [(row.text, row.labels) for row in unique_rows(rows[::-1])] == seen
    assert len(seen) == 3


def test_copies_that_disagree_on_harmful_are_refused_with_both_rows() -> None:
    rows = [Row("one", "f, row 1", "s", True, "hate"), Row("One", "f, row 7", "s", False, "hate")]
    with pytest.raises(UserError, match=r"f, row 7: the same text as f, row 1"):
        unique_rows(rows)


def test_a_copy_of_a_twin_gives_way_to_it_whichever_came_first() -> None:
    twin = Row("one", "twins, row 1", "twins", False, "hate", pair="p")
    copy = Row(
        "ONE", "f, row 1", "s", labels=("a",)
    )  # its hazard is not known yet, and harmful is all that it could say
    assert unique_rows([twin, copy]) == unique_rows([copy, twin]) == [twin]


def test_a_labelled_copy_of_a_twin_that_says_otherwise_is_refused() -> None:
    twin = Row("one", "twins, row 1", "twins", False, "hate", pair="p")
    with pytest.raises(UserError, match=r"f, row 7: the same text as twins, row 1"):
        unique_rows([twin, Row("One", "f, row 7", "s", True, "hate")])


def test_twins_come_first() -> None:
    rows = [Row(str(n), "f", "s") for n in range(5)] + [Row("twin", "f", "twins", pair="p")]
    assert unique_rows(rows)[0].text == "twin"
