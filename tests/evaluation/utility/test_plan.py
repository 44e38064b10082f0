""""""

from __future__ import annotations

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.utility.plan import sampled

SUBSETS = {"large": 60, "middle": 30, "small": 10}


def test_without_a_limit_every_row_is_asked() -> None:
    assert sampled({"a": 2, "b": 1}, None, 0) == {"a": [0, 1], "b": [0]}
    assert sampled({"a": 2, "b": 1}, 99, 0) == {"a": [0, 1], "b": [0]}


def test_a_limit_takes_each_subset_in_proportion() -> None:
    taken = sampled(SUBSETS, 20, 0)
    assert {subset: len(rows) for subset, rows in taken.items()} == {"large": 12, "middle": 6, "small": 2}
    assert all(rows == sorted(set(rows)) and rows[-1] < SUBSETS[subset] for subset, rows in taken.items())


@pytest.mark.parametrize("limit", range(1, 100, 7))
def test_each_subset_is_within_one_of_its_share(limit: int) -> None:
    taken = sampled(SUBSETS, limit, 3)
    assert sum(map(len, taken.values())) == limit
    assert all(abs(len(taken.get(subset, [])) - limit * size / 100) <= 1 for subset, size in SUBSETS.items())


def test_a_subset_without_a_question_is_absent() -> None:
    assert len(sampled(SUBSETS, 1, 0)) == 1


def test_a_larger_limit_keeps_the_questions_of_a_smaller_one() -> None:
    few, many = sampled(SUBSETS, 10, 1), sampled(SUBSETS, 40, 1)
    assert all(set(rows) <= set(many[subset]) for subset, rows in few.items())


def test_the_seed_decides_the_questions() -> None:
    assert sampled(SUBSETS, 20, 0) == sampled(SUBSETS, 20, 0) != sampled(SUBSETS, 20, 1)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="limit=0: expected 1 or more"):
        sampled(SUBSETS, 0, 0)
