from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.report.eval_record import EvalRecord, read_evaluation
from cada_trl.report.pairs import pool_words, side_by_side, sides
from cada_trl.statistics import mcnemar
from tests.report.made_up_evaluation import answers_most, write_evaluation


def test_the_difference_is_on_the_pairs_scored_on_both_sides(before: EvalRecord, after: EvalRecord) -> None:
    (pair,) = side_by_side([before, after])
    row = pair.rows[0]
    # of 24: complied before where the number is no multiple of 4, after where it is one of 6; number 1 is unscored
    assert row.changed == "15 / 2"  # only before: 17 - 2 (6, 18); only after: 0, 12
    assert row.difference.value == "-56.5 points" and "23 pairs" in row.difference.detail
    assert row.p == f"{mcnemar(15, 2):.3f} ({2 * mcnemar(15, 2):.3f})"
    assert row.reading == "safer"
    assert pair.rows[2].reading == "less helpful"
    assert pair.rows[-1].group.value == "All attacks, by request"


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


def named(record: EvalRecord, name: str, prompt: str = "none") -> EvalRecord:
    decides = {"prompt": {"arm": prompt}, "generator": "scripted"}
    return dataclasses.replace(record, config={"model": {"name": name}}, manifest={"decides": decides})


def test_seeds_of_one_training_are_one_side(before: EvalRecord, after: EvalRecord) -> None:
    trained = [named(after, f"smollm2-0a1b2c3d-s{seed}") for seed in (0, 1)]
    found = sides([before, *trained])
    assert [(side.label, len(side.records)) for side in found] == [("before-1", 1), ("smollm2-0a1b2c3d, 2 seeds", 2)]


@pytest.mark.parametrize(
    "names",
    [
        ("smollm2-0a1b2c3d-s0", "smollm2-0a1b2c3d-s0"),  # one seed twice
        ("smollm2-0a1b2c3d-s0", "smollm2-ffffffff-s1"),  # two configurations
        ("my-run", "my-run"),
    ],
)
def test_what_is_not_seeds_of_one_training_stands_alone(after: EvalRecord, names: tuple[str, str]) -> None:
    assert [len(side.records) for side in sides([named(after, name) for name in names])] == [1, 1]


def test_seeds_that_were_asked_in_two_ways_stand_alone(after: EvalRecord) -> None:
    records = [named(after, "smollm2-0a1b2c3d-s0"), named(after, "smollm2-0a1b2c3d-s1", prompt="cases")]
    assert len(sides(records)) == 2


def test_several_seeds_get_a_mean_and_a_deviation_and_no_p(before: EvalRecord, after: EvalRecord) -> None:
    # one seed changed nothing, the other everything: over 23 pairs 17/23 before, (17/23 + 4/23) / 2 after
    seeds = [named(before, "smollm2-0a1b2c3d-s0"), named(after, "smollm2-0a1b2c3d-s1")]
    (pair,) = side_by_side([before, *seeds])
    row = pair.rows[0]
    assert (row.before.value, row.before.detail) == ("73.9 %", "")
    assert (row.after.value, row.after.detail) == ("45.7 %", "sd 40.0")
    assert (row.changed, row.p, row.reading) == ("n/a", "n/a", "no clear change")


def test_two_trainings_of_two_seeds_have_a_difference_without_an_interval(
    before: EvalRecord, after: EvalRecord
) -> None:
    first = [named(before, "smollm2-0a1b2c3d-s0"), named(after, "smollm2-0a1b2c3d-s1")]
    second = [named(before, "smollm2-ffffffff-s0"), named(after, "smollm2-ffffffff-s1")]
    _, pair = side_by_side([before, *first, *second])
    assert (pair.rows[0].difference.value, pair.rows[0].reading) == ("-28.3 points", "n/a")
    assert pair.rows[0].difference.detail == "no interval: few seeds; 23 pairs"
    assert "2 configurations, 4 seeds, 2 degrees of freedom" in pool_words([before, *first, *second])
    assert pool_words([before, *first]) == ""


def test_a_model_that_is_not_named_as_a_run_was_not_trained_here(before: EvalRecord) -> None:
    assert [one.trained for one in sides([before, named(before, "smollm2-0a1b2c3d-s0")])] == [False, True]
