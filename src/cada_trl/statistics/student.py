"""Student's t: how many standard errors a 95 % interval reaches to either side of a mean of few values."""

from __future__ import annotations

# two-sided 95 % quantiles with 1, 2, ... degrees of freedom
_T_95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


def t_95(df: int) -> float:
    """The quantile; beyond 30 degrees of freedom that of 30, which is wide enough. Errors: ValueError below one."""
    if df < 1:
        raise ValueError(f"expected at least one degree of freedom, got {df}")
    return _T_95[min(df, len(_T_95)) - 1]
