from __future__ import annotations

import numpy as np
import pytest

from cada_trl.errors import UserError
from cada_trl.separability.training_rows import training_rows
from tests.separability.made_up import alone, sides, twins


def test_a_pair_is_the_two_rows_of_one_group() -> None:
    harmful, harmless = sides(twins(12))
    rows = training_rows([*harmful, *alone(5, True)], [*reversed(harmless), *alone(3, False)])
    pairs = rows.pairs(np.random.default_rng(0))
    assert len(pairs) == len(rows.twins()) == 12
    for one, other in pairs:
        assert rows.groups[one] == rows.groups[other]
        assert rows.harmful_n[one] and not rows.harmful_n[other]


def test_without_twins_a_pair_is_drawn_and_no_row_is_in_two() -> None:
    rows = training_rows(alone(15, True), alone(10, False))
    pairs = rows.pairs(np.random.default_rng(0))
    assert (rows.twins(), len(pairs)) == ([], 10)
    assert all(rows.harmful_n[one] and not rows.harmful_n[other] for one, other in pairs)
    assert len({row for pair in pairs for row in pair}) == 20


def test_the_order_is_the_seeds() -> None:
    rows = training_rows(*sides(twins(12)))
    first, again, other = (rows.pairs(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_too_few_of_one_kind_are_refused_with_their_number() -> None:
    with pytest.raises(UserError, match="12 harmful and 0 harmless training rows; expected at least 10 of each"):
        training_rows(alone(12, True), [])
