import pytest

from cada_trl.data.rows import Funnel, Row, Source, funnel_table, unique_rows
from cada_trl.errors import UserError


def test_copies_become_one_row_with_the_labels_of_all():
    rows = [Row("Hit him!", "f, row 1", "s", labels=("b",)), Row("hit HIM", "f, row 2", "s", labels=("a",))]
    assert [(row.text, row.labels) for row in unique_rows(rows)] == [("Hit him!", ("a", "b"))]


def test_the_order_of_the_input_decides_nothing():
    rows = [
        Row(text, "f", "s", labels=(label,)) for text, label in [("One", "a"), ("one", "b"), ("two", "c"), ("3", "d")]
    ]
    seen = [(row.text, row.labels) for row in unique_rows(rows)]
    assert [(row.text, row.labels) for row in unique_rows(rows[::-1])] == seen
    assert len(seen) == 3


def test_copies_that_disagree_on_harmful_are_refused_with_both_rows():
    rows = [Row("one", "f, row 1", "s", True, "hate"), Row("One", "f, row 7", "s", False, "hate")]
    with pytest.raises(UserError, match=r"f, row 7: the same text as f, row 1"):
        unique_rows(rows)


def test_a_copy_of_a_twin_gives_way_to_it_whichever_came_first():
    twin = Row("one", "twins, row 1", "twins", False, "hate", pair="p")
    copy = Row(
        "ONE", "f, row 1", "s", labels=("a",)
    )  # its hazard is not known yet, and harmful is all that it could say
    assert unique_rows([twin, copy]) == unique_rows([copy, twin]) == [twin]


def test_a_labelled_copy_of_a_twin_that_says_otherwise_is_refused():
    twin = Row("one", "twins, row 1", "twins", False, "hate", pair="p")
    with pytest.raises(UserError, match=r"f, row 7: the same text as twins, row 1"):
        unique_rows([twin, Row("One", "f, row 7", "s", True, "hate")])


def test_twins_come_first():
    rows = [Row(str(n), "f", "s") for n in range(5)] + [Row("twin", "f", "twins", pair="p")]
    assert unique_rows(rows)[0].text == "twin"


BAD = [Row(f"bad {i}", "f", "s") for i in range(3)]
GOOD = [Row("good", "f", "s", harmful=False)]
OWN = Source(BAD + GOOD, {"harmful": {"safe": 5}})
PAIR = [Row("twin bad", "f", "twins", True, pair="p"), Row("twin good", "f", "twins", False, pair="p")]
TWINS = Source(PAIR, {"harmful": {"labels_disagree": 1}, "harmless": {"labels_disagree": 1}})


def test_read_less_dropped_is_kept_for_harmful_and_harmless_rows():
    funnel = Funnel(OWN)
    kept = funnel.keep(OWN.rows, lambda row: "long" if row.text == "bad 1" else None)
    assert [row.text for row in kept] == ["bad 0", "bad 2", "good"]
    assert funnel.as_dict() == {
        "harmful": {"read": 8, "dropped": {"safe": 5, "long": 1}, "kept": 2},
        "harmless": {"read": 1, "dropped": {}, "kept": 1},
    }


def test_twins_beside_another_source_are_counted_apart_with_what_was_dropped_while_reading():
    funnel = Funnel(OWN, TWINS)
    assert funnel.keep(OWN.rows + PAIR, lambda row: None) == OWN.rows + PAIR
    counts = funnel.as_dict()
    assert counts["harmful"]["read"] == 8
    for name in ("twins_harmful", "twins_harmless"):
        assert counts[name] == {"read": 2, "dropped": {"labels_disagree": 1}, "kept": 1}


def test_the_twin_of_a_dropped_row_is_dropped_as_its_partner():
    funnel = Funnel(OWN, TWINS)
    kept = funnel.keep(OWN.rows + PAIR, lambda row: "long" if row.text == "twin bad" else None)
    assert kept == OWN.rows
    counts = funnel.as_dict()
    assert counts["twins_harmful"]["dropped"] == {"labels_disagree": 1, "long": 1}
    assert counts["twins_harmless"]["dropped"] == {"labels_disagree": 1, "partner_dropped": 1}


@pytest.mark.parametrize(
    ("sources", "rows", "said"),
    [
        ([OWN], OWN.rows, "no harmful row is left of 8 read; dropped: safe 5, long 3; loosen a filter"),
        ([OWN, TWINS], GOOD + PAIR, "no harmful row is left of 8 read"),  # harmful twins do not stand in for them
        ([Source([], {})], [], "no harmful row is left of 0 read; dropped: none"),
    ],
)
def test_where_no_harmful_row_of_the_source_is_left_every_count_is_said(sources, rows, said):
    with pytest.raises(UserError, match=said):
        Funnel(*sources).keep(rows, lambda row: "long" if row in BAD else None)


def test_every_filter_is_a_row_and_one_that_did_not_apply_is_blank():
    funnel = {
        "harmful": {"read": 9, "dropped": {"too_long": 2}, "kept": 7},
        "harmless": {"read": 5, "dropped": {"exact_duplicate": 1}, "kept": 4},
    }
    table = funnel_table({"funnel": funnel})
    assert table is not None and table.header == ["Requests", "harmful", "harmless"]
    assert table.rows == [
        ["read", "9", "5"],
        ["dropped: too long", "2", ""],
        ["dropped: exact duplicate", "", "1"],
        ["kept", "7", "4"],
    ]
    assert funnel_table({}) is None and funnel_table({"funnel": {"read": 9, "kept": 7}}) is None
