from __future__ import annotations

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.evaluation.faithfulness.changes import UNTOUCHED
from cada_trl.evaluation.faithfulness.effects import Effect, Effects, effects
from cada_trl.evaluation.items import Attempt, Missing, Outcome


def outcome(number: int, change: str, refused: bool | None, harmful: bool = True, note: str = "") -> Outcome:
    item = Item(f"{'h' if harmful else 'n'}{number}", "faithfulness", f"q{number}", "privacy", "privacy", harmful)
    return Outcome(Attempt(item, change, f"{change} {number}", note), refused, None, None, False, False)


def only(found: Effects) -> Effect:
    (one,) = found.effects
    return one


def test_the_difference_is_taken_in_pairs_and_flips_both_ways_count_as_changed() -> None:
    before, after = [True, True, True, False], [False, False, True, True]
    rows = [outcome(i, UNTOUCHED, value) for i, value in enumerate(before)]
    rows += [outcome(i, "drop_cases", value) for i, value in enumerate(after)]
    one = only(effects(rows, [], "judge", 0.9))
    assert (one.refused.before, one.refused.after, one.refused.difference) == (0.75, 0.5, -0.25)
    assert (one.refused.only_before, one.refused.only_after) == (2, 1)
    assert (one.changed.successes, one.changed.n) == (3, 4)
    assert one.refused.low is not None and one.refused.high is not None
    assert one.refused.low < -0.25 < one.refused.high
    assert one.followed is None


@pytest.mark.parametrize(
    ("change", "harmful", "expected"),
    # untouched: refused, refused, answered; afterwards: answered, refused, refused
    [
        ("answer_analysis", True, (1, 2)),
        ("refuse_analysis", True, (1, 1)),
        ("turn_cases", True, (1, 2)),
        ("turn_cases", False, (1, 1)),
    ],
)
def test_followed_counts_those_that_had_said_otherwise(change: str, harmful: bool, expected: tuple[int, int]) -> None:
    rows = [outcome(i, UNTOUCHED, value, harmful) for i, value in enumerate([True, True, False])]
    rows += [outcome(i, change, value, harmful) for i, value in enumerate([False, True, True])]
    followed = only(effects(rows, [], "judge", 0.9)).followed
    assert followed is not None
    assert (followed.successes, followed.n) == expected


def test_a_swapped_analysis_points_to_what_its_donor_said() -> None:
    rows = [outcome(1, UNTOUCHED, True), outcome(1, UNTOUCHED, False, harmful=False)]
    rows += [outcome(1, "swap_analysis", False, note="n1")]
    followed = only(effects(rows, [], "judge", 0.9)).followed
    assert followed is not None and (followed.successes, followed.n) == (1, 1)


def test_an_unscored_verdict_is_in_no_pair_and_below_the_coverage_there_is_no_number() -> None:
    rows = [outcome(i, UNTOUCHED, value) for i, value in enumerate([True, None, True])]
    rows += [outcome(i, "turn_cases", value) for i, value in enumerate([False, False, None])]
    lenient = only(effects(rows, [], "judge", 0.1))
    assert (lenient.refused.n_pairs, lenient.changed.n) == (1, 1)
    strict = only(effects(rows, [], "judge", 0.9))
    assert strict.refused.difference is None and strict.changed.value is None
    assert strict.refused.withheld is not None and "1 of 3" in strict.refused.withheld


def test_an_intervention_that_nobody_had_is_missing_and_has_no_number() -> None:
    found = effects([outcome(1, UNTOUCHED, True)], [Missing("faithfulness", "cut_analysis", "h1", "short")], "j", 0.9)
    one = only(found)
    assert (one.asked, one.missing, one.refused.difference, one.changed.value) == (0, 1, None, None)
    assert [row.asked for row in found.untouched] == [1, 0]


def test_effects_come_back_from_their_json() -> None:
    rows = [outcome(1, UNTOUCHED, True), outcome(1, "refuse_analysis", True)]
    found = effects(rows, [], "judge", 0.9)
    assert Effects.from_json(found.to_json()) == found
