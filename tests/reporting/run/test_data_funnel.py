from __future__ import annotations

from cada_trl.reporting.run.data_funnel import funnel_table, split_sizes, unchecked_overlap

DATA = {
    "funnel": {
        "harmful": {"read": 9, "dropped": {"too_long": 2}, "kept": 7},
        "harmless": {"read": 5, "dropped": {"exact_duplicate": 1}, "kept": 4},
    },
    "split": {"train": {"n": 5}, "probe": {"n": 2}},
    "decontamination": {"checked": True},
}


def test_every_filter_is_a_row_and_one_that_did_not_apply_is_blank() -> None:
    columns, rows = funnel_table(DATA)
    assert columns == ["harmful", "harmless"]
    assert rows == [
        ("read", ["9", "5"]),
        ("dropped: too long", ["2", ""]),
        ("dropped: exact duplicate", ["", "1"]),
        ("kept", ["7", "4"]),
    ]
    assert split_sizes(DATA) == "train 5, probe 2"


def test_a_manifest_without_a_funnel_gives_no_rows() -> None:
    assert funnel_table({}) == ([], [])
    assert funnel_table({"funnel": {"read": 9, "kept": 7}}) == ([], [])


def test_data_that_was_not_decontaminated_is_said() -> None:
    assert unchecked_overlap(DATA) is None
    assert unchecked_overlap({"decontamination": {"checked": False}}) == unchecked_overlap({})
    assert "not checked for overlap" in str(unchecked_overlap({}))
