"""Every interval that is reported holds the truth about as often as it says, in simulated experiments."""

from __future__ import annotations

import pytest
from interval_coverage import Setting, settings

OURS = [setting for setting in settings() if setting.ours]
NOT_TAKEN = [
    next(setting for setting in settings() if setting.name == name)
    for name in ("Wald", "bootstrap", "adjusted difference, every attempt", "McNemar of every attempt")
]


def name_of(setting: Setting) -> str:
    return f"{setting.name}: {setting.data}"


@pytest.mark.parametrize("setting", OURS, ids=name_of)
def test_the_interval_holds_the_truth(setting: Setting) -> None:
    # 95 % less three standard deviations of 100 experiments (2.2 %)
    assert setting.covered(100)[0] >= 0.885


@pytest.mark.slow
@pytest.mark.parametrize("setting", OURS, ids=name_of)
def test_the_interval_holds_the_truth_in_many_experiments(setting: Setting) -> None:
    # exactly 93.0 % in the lowest setting (Wilson, 10 items of rate 10 %), less two standard deviations of 0.5 %
    assert setting.covered(2000, seed=1)[0] >= 0.92


@pytest.mark.parametrize("setting", NOT_TAKEN, ids=name_of)
def test_the_simulation_catches_an_interval_that_is_too_narrow(setting: Setting) -> None:
    assert setting.covered(200)[0] < 0.9
