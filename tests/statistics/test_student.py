from __future__ import annotations

import pytest

from cada_trl.statistics import t_95


@pytest.mark.parametrize(("df", "quantile"), [(1, 12.7062), (4, 2.7764), (30, 2.0423)])
def test_the_quantiles_are_those_of_the_tables(df: int, quantile: float) -> None:
    assert t_95(df) == quantile


def test_beyond_thirty_degrees_of_freedom_the_thirtieth_is_taken() -> None:
    assert t_95(31) == t_95(30)


def test_no_degree_of_freedom_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="at least one degree"):
        t_95(0)
