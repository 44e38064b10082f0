"""Several problems in one message."""

from __future__ import annotations

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.problems import N_SHOWN, Problems


def test_each_file_is_named_once_and_a_problem_does_not_repeat_its_place() -> None:
    problems = Problems()
    with problems.of("a.csv, row 2"):
        raise UserError("a.csv, row 2: no text")
    with problems.of("a.csv, row 7"):
        raise UserError("no label")
    problems.add("b.csv", "no column")
    problems.add("b.csv, row 1", "no text")
    with pytest.raises(UserError) as refusal:
        problems.end()
    assert str(refusal.value) == "a.csv, row 2: no text; row 7: no label; b.csv: no column; row 1: no text"


def test_what_is_beyond_the_bound_is_counted() -> None:
    problems = Problems()
    for number in range(1, N_SHOWN + 215):
        problems.add(f"a.csv, row {number}", "no text")
    with pytest.raises(UserError, match=rf"; row {N_SHOWN}: no text; and 214 more$"):
        problems.end()


def test_without_a_problem_nothing_is_raised_and_an_error_of_the_program_is_not_kept() -> None:
    problems = Problems()
    with pytest.raises(KeyError), problems.of("a.csv, row 1"):
        raise KeyError("a")
    problems.end()
