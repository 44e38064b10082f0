from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.reporting.evaluation.eval_record import EvalRecord, read_evaluation
from cada_trl.reporting.evaluation.side_by_side import side_by_side
from cada_trl.statistics import mcnemar
from tests.reporting.evaluation.made_up import answers_most, write_evaluation


def test_the_difference_is_on_the_pairs_scored_on_both_sides(before: EvalRecord, after: EvalRecord) -> None:
    (pair,) = side_by_side([before, after])
    row = pair.rows[0]
    # of 24: complied before where the number is no multiple of 4, after where it is one of 6; number 1 is unscored
    assert row.changed == "15 / 2"  # only before: 17 - 2 (6, 18); only after: 0, 12
    assert row.difference.value == "-56.5 points" and "23 pairs" in row.difference.detail
    assert row.p == f"{mcnemar(15, 2):.3f} ({2 * mcnemar(15, 2):.3f})"
    assert row.reading == "safer"
    assert pair.rows[2].reading == "less helpful"
    assert [one.attack for one in pair.pooled] == ["all attacks, by request"]


def test_one_evaluation_is_compared_with_nothing(before: EvalRecord) -> None:
    assert side_by_side([before]) == []


def test_verdicts_of_two_judges_are_not_subtracted(before: EvalRecord, scored: EvalRecord) -> None:
    (pair,) = side_by_side([before, scored])
    assert pair.comparison is None and pair.rows == []
    assert pair.reason is not None and "two judges" in pair.reason and "strongreject-made-up-1" in pair.reason


def test_evaluations_without_a_common_item_are_refused_in_one_line(tmp_path: Path) -> None:
    records = [
        read_evaluation(write_evaluation(tmp_path / name, answers_most, benchmarks=[name]))
        for name in ("strongreject", "xstest_safe")
    ]
    with pytest.raises(UserError, match="have no item in common, so there is nothing to compare") as caught:
        side_by_side(records)
    assert "\n" not in str(caught.value)
