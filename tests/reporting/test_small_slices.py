from __future__ import annotations

from cada_trl.reporting.small_slices import folded_names, folded_words, split_small


def test_nine_are_folded_and_ten_are_shown_in_the_order_given() -> None:
    assert split_small([("a", 9), ("b", 10), ("c", 0), ("d", 30)], lambda row: row[1]) == (
        [("b", 10), ("d", 30)],
        [("a", 9), ("c", 0)],
    )


def test_the_line_counts_and_names_what_is_folded() -> None:
    assert folded_names(["hate", "privacy", "weapons"]) == "3 slices with n < 10: folded (hate, privacy, weapons)"
    assert folded_words(1) == "1 slice with n < 10: folded"


def test_nothing_folded_is_nothing_said() -> None:
    assert (folded_words(0), folded_names([])) == ("", "")
