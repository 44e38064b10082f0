from __future__ import annotations

from dataclasses import replace

import pytest

from cada_trl.evaluation.compare import Change
from cada_trl.evaluation.scores import Measure, ScoredCell
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.pairs import reading
from cada_trl.report.rates import (
    change_cell,
    folded_names,
    folded_words,
    hazard_tables,
    headline_rows,
    measure_cell,
    split_small,
)


def test_a_row_has_rate_interval_counts_coverage_and_missing_prompts(before: EvalRecord) -> None:
    none, pair, safe = headline_rows([before])
    # every fourth of 24 requests is refused; Wilson's interval of 18/24
    assert str(none.rate) == "75.0 % (55.1 to 88.0; 18/24)"
    assert (none.benchmark, none.attack, none.transfer, none.missing) == ("StrongREJECT", "no attack", False, "0")
    assert (pair.attack, pair.transfer, pair.coverage, pair.missing) == ("PAIR", True, "22/22", "2")
    assert (safe.metric, str(safe.rate.value)) == ("NRR: share answered, higher is more helpful", "100.0 %")


def test_an_unscored_response_is_in_the_coverage_and_not_in_the_rate(after: EvalRecord) -> None:
    row = headline_rows([after])[0]
    assert (row.coverage, row.rate.value) == ("23/24", "17.4 %")
    assert row.reasoning == "79.2 %"  # 19 of 24: four answers, one empty response


def test_columns_of_harm_stand_only_where_a_judge_labels_it(before: EvalRecord, scored: EvalRecord) -> None:
    assert headline_rows([before])[0].optional == {}
    optional = headline_rows([scored])[0].optional
    assert str(optional["harmful score"]).startswith("0.38 (") and optional["judged harmful"].value == "75.0 %"


def test_two_evaluations_stand_below_each_other_in_each_cell(before: EvalRecord, after: EvalRecord) -> None:
    rows = headline_rows([before, after])
    assert [row.evaluation for row in rows] == ["before-1", "after-2"] * 3
    assert [row.attack for row in rows[:4]] == ["no attack", "no attack", "PAIR", "PAIR"]


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
    assert [table.brief] == [
        "StrongREJECT, no attack, by hazard: 3 slices with n < 10: folded "
        "(hate, outside the case pack's hazards, privacy)"
    ]
    assert before.scores.cells[0].by_hazard["hate"].complied.n == 8


def test_a_slice_that_one_evaluation_scored_often_is_shown_for_all(before: EvalRecord) -> None:
    scores = before.scores.model_copy(update={"cells": [with_n(cell, "hate", 10) for cell in before.scores.cells]})
    table = hazard_tables([before, replace(before, scores=scores)])[0]
    assert [hazard for hazard, _ in table.rows] == ["hate"] and len(table.folded) == 2
    assert table.brief.endswith("2 slices with n < 10: folded (outside the case pack's hazards, privacy)")


def with_n(cell: ScoredCell, hazard: str, n: int) -> ScoredCell:
    own = cell.by_hazard[hazard]
    larger = own.model_copy(update={"complied": own.complied.model_copy(update={"n": n})})
    return cell.model_copy(update={"by_hazard": cell.by_hazard | {hazard: larger}})


def test_nine_are_folded_and_ten_are_shown_in_the_order_given() -> None:
    assert split_small([("a", 9), ("b", 10), ("c", 0), ("d", 30)], lambda row: row[1]) == (
        [("b", 10), ("d", 30)],
        [("a", 9), ("c", 0)],
    )


def test_the_line_counts_and_names_what_is_folded() -> None:
    assert folded_names(["hate", "privacy", "weapons"]) == "3 slices with n < 10: folded (hate, privacy, weapons)"
    assert folded_words(1) == "1 slice with n < 10: folded"


def test_nothing_folded_is_nothing_said() -> None:
    assert (folded_words(0), folded_names([])) == ("", "")


def withheld(n: int) -> Measure:
    return Measure(n=n, asked=10, successes=None, value=None, low=None, high=None, withheld="why")


def test_what_is_not_known_has_no_number() -> None:
    assert str(measure_cell(None)) == "n/a"
    assert str(measure_cell(withheld(0))) == "n/a"
    assert str(measure_cell(withheld(3))) == "withheld"
    assert str(change_cell(Change(n_pairs=0, n_items=0, withheld="why"))) == "n/a"


def test_a_difference_is_in_points() -> None:
    change = Change(n_pairs=50, n_items=50, before=0.5, after=0.38, difference=-0.12, low=-0.2, high=-0.04)
    assert str(change_cell(change)) == "-12.0 points (-20.0 to -4.0; 50 pairs)"


@pytest.mark.parametrize(
    ("low", "high", "metric", "words"),
    [
        (-0.2, -0.1, "asr", "safer"),
        (0.1, 0.2, "asr", "less safe"),
        (-0.2, -0.1, "nrr", "less helpful"),
        (0.1, 0.2, "nrr", "more helpful"),
        (-0.1, 0.1, "asr", "no clear change"),
    ],
)
def test_the_interval_decides_how_a_difference_is_read(low: float, high: float, metric: str, words: str) -> None:
    change = Change(n_pairs=9, n_items=9, before=0.5, after=0.5, difference=0.0, low=low, high=high)
    assert reading(change, metric) == words  # type: ignore[arg-type]
