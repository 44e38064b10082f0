"""paired: two runs on the same items."""

from __future__ import annotations

import pytest

from cada_trl.statistics import paired_bootstrap


def test_a_shift_shared_by_all_pairs_has_an_interval_without_width() -> None:
    before = [0.0, 5.0, -3.0, 10.0]
    assert paired_bootstrap(before, [value + 2 for value in before]) == (2.0, 2.0, 2.0)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="2 values before and 1 after"):
        paired_bootstrap([1.0, 2.0], [1.0])
