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
