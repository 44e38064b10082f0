from __future__ import annotations

from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.headline import headline_rows


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
    assert row.reasoning.value == "79.2 %"  # 19 of 24: four answers, one empty response


def test_columns_of_harm_stand_only_where_a_judge_labels_it(before: EvalRecord, scored: EvalRecord) -> None:
    assert headline_rows([before])[0].optional == {}
    optional = headline_rows([scored])[0].optional
    assert str(optional["harmful score"]).startswith("0.38 (") and optional["judged harmful"].value == "75.0 %"


def test_two_evaluations_stand_below_each_other_in_each_cell(before: EvalRecord, after: EvalRecord) -> None:
    rows = headline_rows([before, after])
    assert [row.evaluation for row in rows] == ["before-1", "after-2"] * 3
    assert [row.attack for row in rows[:4]] == ["no attack", "no attack", "PAIR", "PAIR"]
