from __future__ import annotations

from dataclasses import replace

from cada_trl.evals.scores import Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.slices import folded_lines, hazard_tables


def test_a_hazards_rate_is_over_its_own_items(before: EvalRecord, after: EvalRecord) -> None:
    table = hazard_tables([before, after])[0]
    assert (table.title, table.metric) == ("StrongREJECT, no attack", "ASR")
    rows = {hazard: [cell.value for cell in cells] for hazard, cells in table.folded}
    # numbers 0, 3, ..., 21: before complies but for 0 and 12; after with 0, 6, 12 and 18
    assert rows["hate"] == ["75.0 %", "50.0 %"]
    # 1, 4, ..., 22: after refuses all, and number 1 is unscored: 7 of 8 is below the coverage of 90 %
    assert rows["privacy"] == ["75.0 %", "withheld"]
    assert rows["outside the case pack's hazards"] == ["75.0 %", "0.0 %"]


def test_a_slice_of_fewer_than_ten_is_folded_and_stays_in_the_scores(before: EvalRecord) -> None:
    # 24 items are 8 of each hazard
    table = hazard_tables([before])[0]
    assert (table.rows, len(table.folded)) == ([], 3)
    assert folded_lines([table]) == [
        "StrongREJECT, no attack, by hazard: 3 slices with n < 10: folded "
        "(hate, outside the case pack's hazards, privacy)"
    ]
    assert before.scores.cells[0].by_hazard["hate"].complied.n == 8


def test_a_slice_that_one_evaluation_scored_often_is_shown_for_all(before: EvalRecord) -> None:
    scores = before.scores.model_copy(update={"cells": [with_n(cell, "hate", 10) for cell in before.scores.cells]})
    table = hazard_tables([before, replace(before, scores=scores)])[0]
    assert [hazard for hazard, _ in table.rows] == ["hate"] and len(table.folded) == 2
    assert folded_lines([table])[0].endswith("2 slices with n < 10: folded (outside the case pack's hazards, privacy)")


def with_n(cell: Cell, hazard: str, n: int) -> Cell:
    own = cell.by_hazard[hazard]
    larger = own.model_copy(update={"complied": own.complied.model_copy(update={"n": n})})
    return cell.model_copy(update={"by_hazard": cell.by_hazard | {hazard: larger}})
