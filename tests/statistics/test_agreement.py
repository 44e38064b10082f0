"""agreement of two raters against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest

from cada_trl.statistics import agreement, agreement_line, cohen_kappa


def test_kappa_of_the_textbook_table() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, chance 0.5*0.6 + 0.5*0.4 = 0.5, kappa 0.4
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_kappa_is_one_for_equal_raters_and_minus_one_for_opposite_ones() -> None:
    assert cohen_kappa([0, 1, 0, 1], [0, 1, 0, 1]) == 1.0
    assert cohen_kappa([0, 1, 0, 1], [1, 0, 1, 0]) == -1.0


def test_kappa_of_raters_who_only_ever_say_one_word_is_undefined() -> None:
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))


def test_agreement_is_counted_by_hand() -> None:
    # chance: yes 2/4 * 3/4 + no 2/4 * 1/4 = 1/2; observed 3/4
    assert agreement("yynn", "yyyn") == {"n": 4, "agreed": 3, "kappa": 0.5}
    assert agreement_line(agreement("yynn", "yyyn")) == "3 of 4 alike, Cohen's kappa 0.500"


def test_kappa_that_is_not_defined_is_no_number() -> None:
    assert agreement("yy", "yy") == {"n": 2, "agreed": 2, "kappa": None}
    assert agreement_line(agreement([], [])) == "0 of 0 alike, Cohen's kappa not defined"
