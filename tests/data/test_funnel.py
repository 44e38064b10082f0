import pytest

from cada_trl.data.funnel import Funnel
from cada_trl.data.rows import Row, Source
from cada_trl.errors import UserError

BAD = [Row(f"bad {i}", "f", "s") for i in range(3)]
GOOD = [Row("good", "f", "s", harmful=False)]


def test_read_less_dropped_is_kept_for_harmful_and_harmless_rows() -> None:
    funnel = Funnel([Source(BAD, {"safe": 5}), Source(GOOD, {})])
    kept = funnel.keep(BAD + GOOD, lambda row: "long" if row.text == "bad 1" else None)
    assert [row.text for row in kept] == ["bad 0", "bad 2", "good"]
    assert funnel.as_dict() == {
        "harmful": {"read": 8, "dropped": {"safe": 5, "long": 1}, "kept": 2},
        "harmless": {"read": 1, "dropped": {}, "kept": 1},
    }


def test_a_filter_that_leaves_no_harmful_row_is_refused_with_every_count() -> None:
    funnel = Funnel([Source(BAD, {"safe": 5}), Source(GOOD, {})])
    with pytest.raises(UserError, match="no harmful row is left of 8 read; dropped: safe 5, long 3"):
        funnel.keep(BAD + GOOD, lambda row: "long" if row.harmful else None)


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(UserError, match="no harmful row is left of 0 read; dropped: none"):
        Funnel([Source([], {})]).keep([], lambda row: None)
