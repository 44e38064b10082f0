"""Each tripwire: what trips it by hand, and what does not."""

from __future__ import annotations

import pytest

from cada_trl.statistics import Rate
from cada_trl.tripwires import wires


def test_a_rate_trips_by_its_lower_end_and_not_by_its_value() -> None:
    assert wires.share_above("x", Rate(2, 4, 4), 0.3) is None  # 50 %, but Wilson's interval begins at 15 %
    assert wires.share_above("x", Rate(20, 32, 34), 0.3) == (
        "x: 62% (20 of 32, 2 unscored; 95 % interval 45% to 77%), limit 30%"
    )
    assert wires.share_above("x", Rate(0, 0, 9), 0.0) is None


def test_reused_word_runs_are_counted_without_case_and_punctuation() -> None:
    known = set(wires.n_grams("It asks for harm, so refuse.", 3))
    assert wires.reuse_frac("it ASKS for harm", known, 3) == 1.0
    assert wires.reuse_frac("it asks for a recipe", known, 3) == pytest.approx(1 / 3)
    assert wires.reuse_frac("two words", known, 3) is None


def test_copies_trip_by_their_mean() -> None:
    assert wires.copied_analysis([1.0, 0.0], 6, 0.5) is None
    assert wires.copied_analysis([], 6, 0.0) is None
    assert "51% of the 6-word runs" in str(wires.copied_analysis([1.0, 0.02], 6, 0.5))


def test_a_length_trips_against_the_first_rows() -> None:
    assert wires.length_collapse([100, 60], [20, 20], 0.25) is None
    assert "from 80 tokens (first 2) to 19 (newest 1)" in str(wires.length_collapse([100, 60], [19], 0.25))
    assert wires.length_collapse([], [1], 0.25) is None


@pytest.mark.parametrize(
    ("kl_nats", "largest_nats", "trips"),
    [(14.0, 0.0, False), (100.0, 40.0, False), (121.0, 40.0, True), (None, 40.0, False), (500.0, None, False)],
)
def test_a_kl_trips_when_it_is_large_and_many_times_what_it_was(
    kl_nats: float | None, largest_nats: float | None, trips: bool
) -> None:
    assert (wires.kl_jump(kl_nats, largest_nats, 3.0, 50.0) is not None) is trips


def test_a_gap_of_the_sampler_trips_and_an_unknown_one_does_not() -> None:
    assert wires.sampler_gap({"a": 0.06, "b": None}, 0.2) is None
    assert "b = 0.3 nats" in str(wires.sampler_gap({"a": 0.06, "b": 0.3}, 0.2))


REWARDS = ([-0.5] * 4, [0.5] * 4)


def test_a_reward_that_rises_while_the_answers_stay_trips() -> None:
    stays = [(True, True)] * 20
    sentence = str(wires.reward_without_safety(REWARDS, stays, 0.3, 0.1))
    assert "rose by 1.00" in sentence and "100% (20 of 20" in sentence


@pytest.mark.parametrize(
    ("rewards", "answered"),
    [
        (REWARDS, [(True, False)] * 15 + [(True, True)] * 5),  # fell by 75 %
        (REWARDS, [(False, False)] * 20),  # nothing left to lose
        (([0.5], [0.6]), [(True, True)] * 20),  # no rise
        (([], []), [(True, True)] * 20),
        (REWARDS, []),
    ],
)
def test_it_does_not_trip_otherwise(
    rewards: tuple[list[float], list[float]], answered: list[tuple[bool, bool]]
) -> None:
    assert wires.reward_without_safety(rewards, answered, 0.3, 0.1) is None
