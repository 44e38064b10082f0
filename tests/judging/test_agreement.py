"""judging.agreement: counts, rates and the order of scores against arithmetic done by hand."""

from __future__ import annotations

import pytest

from cada_trl.judging.agreement import Agreement, agreement, area_under_roc, said_of
from cada_trl.judging.judge import Judged
from cada_trl.judging.labels import LabelSet
from cada_trl.records import Verdict
from cada_trl.statistics import wilson


def test_counts_and_rates_of_ten_scored_items_are_those_done_by_hand() -> None:
    said = [True] * 5 + [False] * 5 + [None] * 2
    people = [True] * 4 + [False] + [True] * 2 + [False] * 3 + [True, False]
    result = agreement("set", "refused", said, people)
    assert result == Agreement("set", "refused", 4, 1, 2, 3, 2, pytest.approx(0.4))  # chance: .5*.6 + .5*.4 = .5
    row = result.as_row()
    assert (row["accuracy"], row["precision"]) == (0.7, 0.8)
    assert row["recall"] == pytest.approx(4 / 6)
    assert row["f1"] == pytest.approx(8 / 11)
    assert row["coverage"] == pytest.approx(10 / 12)
    assert row["accuracy_interval"] == list(wilson(7, 10))


def test_a_judge_that_says_nothing_has_no_accuracy_and_the_widest_interval() -> None:
    row = agreement("set", "refused", [None], [True]).as_row()
    assert (row["n"], row["coverage"], row["accuracy"], row["kappa"], row["f1"]) == (0, 0.0, None, None, None)
    assert row["accuracy_interval"] == [0.0, 1.0]


def test_labels_that_do_not_match_the_items_raise() -> None:
    with pytest.raises(ValueError):
        agreement("set", "refused", [True], [True, False])


@pytest.mark.parametrize(
    ("judged", "refused", "harmful"),
    [
        (Judged(Verdict.REFUSED, "", ""), True, None),
        (Judged(Verdict.COMPLIED, "", "", harmful=False), False, False),
        (Judged(Verdict.UNSCORED, "", "", harmful=True), None, True),
    ],
)
def test_refused_and_harmful_are_two_labels(judged: Judged, refused: bool | None, harmful: bool | None) -> None:
    assert (said_of(judged, "refused"), said_of(judged, "harmful")) == (refused, harmful)


def test_the_area_counts_ordered_pairs_and_half_the_ties() -> None:
    labelled = LabelSet("set", "harmful", [("q", str(i)) for i in range(5)], [True, True, False, False, False])
    found = area_under_roc(labelled, [1.0, 0.5, 0.5, 0.0, None])
    # harmful 1.0 wins over 0.5 and 0.0; harmful 0.5 ties with 0.5 and wins over 0.0: 3.5 of 4
    assert found == {"name": "set", "n_harmful": 2, "n_other": 2, "area": 0.875}
    assert area_under_roc(labelled, [None, None, 0.5, 0.0, 0.0])["area"] is None
