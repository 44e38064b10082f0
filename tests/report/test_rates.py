import json
from dataclasses import replace

import pytest

from cada_trl.document.blocks import Text
from cada_trl.errors import UserError
from cada_trl.evaluation.compare import Change
from cada_trl.evaluation.scores import Measure
from cada_trl.numbers import ABSENT, Cell
from cada_trl.report.rates import (
    SliceRow,
    change_cell,
    hazard_fold,
    measure_cell,
    pool_words,
    rate_rows,
    reading,
    side_by_side,
    sides,
    slice_tables,
)
from cada_trl.report.records import read_evaluation
from tests.report.made_up_evaluation import HarmJudge, answers_most, refuses_most, write_evaluation


def test_a_row_has_rate_interval_counts_coverage_and_missing_prompts(before):
    none, pair, safe = rate_rows([before])
    # every fourth of 24 requests is refused; Wilson's interval of 18/24
    assert str(none["Rate"]) == "75.0 % (55.1 to 88.0; 18/24)"
    assert (none["Benchmark"].value, *none["Attack"], none["Missing"]) == ("StrongREJECT", "no attack", "", "0")
    assert (*pair["Attack"], pair["Scored"], pair["Missing"]) == ("PAIR", "transfer", "22/22", "2")
    assert (safe["Benchmark"].detail, safe["Rate"].value) == ("NRR: share answered, higher is more helpful", "100.0 %")
    assert list(none)[-2:] == ["Reasoning", "Truncated"]  # this judge labels no harm


def test_an_unscored_response_is_in_the_coverage_and_not_in_the_rate(after):
    row = rate_rows([after])[0]
    assert (row["Scored"], row["Rate"].value) == ("23/24", "17.4 %")
    assert row["Reasoning"] == "79.2 %"  # 19 of 24: four answers, one empty response


def test_columns_of_harm_stand_where_a_judge_labels_it_and_names_where_there_are_two(scored, before, after):
    row = rate_rows([scored])[0]
    assert str(row["Harmful score"]).startswith("0.38 (") and row["Judged harmful"].value == "75.0 %"
    rows = rate_rows([before, after])
    assert [row["Evaluation"] for row in rows] == ["before-1", "after-2"] * 3
    assert [row["Attack"].value for row in rows[:4]] == ["no attack", "no attack", "PAIR", "PAIR"]


def test_a_judge_of_harm_alone_has_scored_and_its_change_is_shown(tmp_path):
    two = [
        read_evaluation(write_evaluation(tmp_path / name, answers, HarmJudge()))
        for name, answers in (("before", answers_most), ("after", refuses_most))
    ]
    row = rate_rows(two[1:])[0]
    assert (row["Scored"], row["Rate"].value, row["Judged harmful"].value) == ("23/24", ABSENT.value, "17.4 %")
    changed = side_by_side(two)[0].rows[0]
    assert changed["Difference"] == ABSENT and str(changed["Judged harmful"]).startswith("-")


def test_a_hazards_rate_is_over_its_own_items_and_few_items_are_folded(before, after):
    fold = hazard_fold([before, after], "strongreject", "none")
    assert fold.summary == "StrongREJECT, no attack: ASR"
    (small,) = fold.blocks  # 24 items are 8 of each hazard
    (table,) = small.blocks
    assert [[str(cell.value) if isinstance(cell, Cell) else cell for cell in row] for row in table.rows] == [
        # numbers 0, 3, ..., 21: before complies but for 0 and 12; after with 0, 6, 12 and 18
        ["hate", "75.0 %", "50.0 %"],
        ["outside the case pack's hazards", "75.0 %", "0.0 %"],
        # 1, 4, ..., 22: after refuses all, and number 1 is unscored: 7 of 8 is below the coverage of 90 %
        ["privacy", "75.0 %", "withheld"],
    ]
    assert fold.brief == [
        Text(
            "StrongREJECT, no attack, by hazard: 3 slices with n < 10: folded "
            "(hate, outside the case pack's hazards, privacy)"
        )
    ]


def test_a_slice_that_one_evaluation_scored_often_is_shown_for_all(before):
    scores = before.scores.model_copy(update={"cells": [with_n(cell, "hate", 10) for cell in before.scores.cells]})
    shown, _ = hazard_fold([before, replace(before, scores=scores)], "strongreject", "none").blocks
    assert [row[0] for row in shown.rows] == ["hate"]


def with_n(cell, hazard, n):
    own = cell.by_hazard[hazard]
    larger = own.model_copy(update={"complied": own.complied.model_copy(update={"n": n})})
    return cell.model_copy(update={"by_hazard": cell.by_hazard | {hazard: larger}})


def test_nine_are_folded_and_ten_are_shown_in_the_order_given():
    rows = [SliceRow(name, n, {"Slice": name, "n": str(n)}) for name, n in (("a", 9), ("b", 10), ("c", 0), ("b", 3))]
    (shown,), (small,), line = slice_tables("title", rows)
    assert shown.rows == [["b", "10"], ["b", "3"]]
    assert small.summary == "2 slices with n < 10: folded" and line == f"{small.summary} (a, c)"
    assert slice_tables("title", rows[:1])[2] == "1 slice with n < 10: folded (a)"
    assert slice_tables("title", rows[1:2])[1:] == ([], "") and slice_tables("title", []) == ([], [], "")


def withheld(n):
    return Measure(n=n, asked=10, successes=None, value=None, low=None, high=None, withheld="why")


def test_a_difference_is_in_points_and_what_is_not_known_has_no_number():
    assert [str(measure_cell(one)) for one in (None, withheld(0), withheld(3))] == ["n/a", "n/a", "withheld"]
    assert str(change_cell(Change(n_pairs=0, n_items=0, withheld="why"))) == "n/a"
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
def test_the_interval_decides_how_a_difference_is_read(low, high, metric, words):
    change = Change(n_pairs=9, n_items=9, before=0.5, after=0.5, difference=0.0, low=low, high=high)
    assert reading(change, metric) == words


def test_the_difference_is_on_the_pairs_scored_on_both_sides(before, after):
    (pair,) = side_by_side([before, after])
    row = pair.rows[0]
    # of 24: complied before where the number is no multiple of 4, after where it is one of 6; number 1 is unscored
    assert row["Only first / second"] == "15 / 2"  # only before: 17 - 2 (6, 18); only after: 0, 12
    assert row["Difference"].value == "-56.5 points" and "23 pairs" in row["Difference"].detail
    p = 2 * (1 + 17 + 136) / 2**17  # of 17 changed pairs 2 or fewer in one direction
    assert row["p (Holm)"] == f"{p:.3f} ({2 * p:.3f})"
    assert row["Reading"] == "safer"
    assert pair.rows[2]["Reading"] == "less helpful"
    assert pair.rows[-1]["Benchmark"].value == "All attacks, by request"
    assert side_by_side([before]) == []


def test_verdicts_of_two_judges_are_not_subtracted(before, scored):
    (pair,) = side_by_side([before, scored])
    assert pair.comparison is None and pair.rows == []
    assert pair.reason is not None and "two judges" in pair.reason and "strongreject-made-up-1" in pair.reason


def test_evaluations_without_a_common_item_are_refused_in_one_line(tmp_path):
    records = [
        read_evaluation(write_evaluation(tmp_path / name, answers_most, benchmarks=[name]))
        for name in ("strongreject", "xstest_safe")
    ]
    with pytest.raises(UserError, match="have no item in common, so there is nothing to compare") as caught:
        side_by_side(records)
    assert "\n" not in str(caught.value)


def named(record, name, prompt="none"):
    decides = {"prompt": {"arm": prompt}, "generator": "scripted"}
    return replace(record, config={"model": {"name": name}}, manifest={"decides": decides})


def test_seeds_of_one_training_are_one_side_and_another_model_was_not_trained_here(before, after):
    found = sides([before, *(named(after, f"smollm2-0a1b2c3d-s{seed}") for seed in (0, 1))])
    shown = [(side.label, len(side.records), side.trained) for side in found]
    assert shown == [("before-1", 1, False), ("smollm2-0a1b2c3d, 2 seeds", 2, True)]


@pytest.mark.parametrize(
    "other",
    [
        ("smollm2-0a1b2c3d-s0", "none"),  # one seed twice
        ("smollm2-ffffffff-s1", "none"),  # two configurations
        ("smollm2-0a1b2c3d-s1", "cases"),  # asked in two ways
        ("my-run", "none"),
    ],
)
def test_what_is_not_seeds_of_one_training_stands_alone(after, other):
    assert len(sides([named(after, "smollm2-0a1b2c3d-s0"), named(after, *other)])) == 2


def test_runs_with_names_of_their_own_are_seeds_by_what_their_folders_say(after, tmp_path):
    records = []
    for name, config_hash, seed in (("mine", "0a1b2c3d", 0), ("again", "0a1b2c3d", 1), ("other", "ffffffff", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"run_name: null\nmodel: {{name: smollm2}}\nseed: {seed}\n")
        (tmp_path / name / "manifest.json").write_text(f'{{"config_hash": "{config_hash}"}}')
        record = named(after, "final")
        model = record.config["model"] | {"source": "folder", "path": str(tmp_path / name / "final")}
        records.append(replace(record, config={"model": model}))
    assert [(side.label, len(side.records)) for side in sides(records)][:1] == [("smollm2-0a1b2c3d, 2 seeds", 2)]
    assert [side.trained for side in sides(records)] == [True, True]


def test_seeds_that_learned_from_other_files_under_one_name_stand_alone(after, tmp_path):
    records = []
    for seed, digest in enumerate(("1", "1", "2")):
        run = tmp_path / str(seed)
        run.mkdir()
        (run / "config.yaml").write_text(f"run_name: null\nmodel: {{name: smollm2}}\nseed: {seed}\n")
        manifest = {"config_hash": "0a1b2c3d", "data": {"inputs": {"sha256": {"file": digest}}}}
        (run / "manifest.json").write_text(json.dumps(manifest))
        records.append(replace(after, config={"model": {"source": "folder", "path": str(run / "final")}}))
    assert [len(side.records) for side in sides(records[:2])] == [2]
    assert [len(side.records) for side in sides(records)] == [1, 1, 1]


def test_cells_whose_prompts_are_never_the_same_stand_there_with_the_reason(before):
    asked = [(one, replace(one.attempt, prompt=f"Please: {one.attempt.prompt}")) for one in before.outcomes]
    other = replace(before, outcomes=[replace(one, attempt=attempt) for one, attempt in asked])
    (pair,) = side_by_side([before, other])
    assert {row["Reading"] for row in pair.rows} == {"no attempt has the same prompt on both sides"}


def test_several_seeds_get_a_mean_and_a_deviation_and_no_p(before, after):
    # one seed changed nothing, the other everything: over 23 pairs 17/23 before, (17/23 + 4/23) / 2 after
    seeds = [named(before, "smollm2-0a1b2c3d-s0"), named(after, "smollm2-0a1b2c3d-s1")]
    (pair,) = side_by_side([before, *seeds])
    row = pair.rows[0]
    assert row[pair.before] == ("73.9 %", "")
    assert row[pair.after] == ("45.7 %", "sd 40.0")
    assert (row["Only first / second"], row["p (Holm)"], row["Reading"]) == ("n/a", "n/a", "no clear change")


def test_two_trainings_of_two_seeds_have_a_difference_without_an_interval(before, after):
    first = [named(before, "smollm2-0a1b2c3d-s0"), named(after, "smollm2-0a1b2c3d-s1")]
    second = [named(before, "smollm2-ffffffff-s0"), named(after, "smollm2-ffffffff-s1")]
    _, pair = side_by_side([before, *first, *second])
    assert (pair.rows[0]["Difference"].value, pair.rows[0]["Reading"]) == ("-28.3 points", "n/a")
    assert pair.rows[0]["Difference"].detail == "no interval: few seeds; 23 pairs"
    assert "2 configurations, 4 seeds, 2 degrees of freedom" in pool_words([before, *first, *second])
    assert pool_words([before, *first]) == ""


def test_a_panels_majority_stands_before_the_row_of_each_judge(panelled, before):
    rows = [row for row in rate_rows([panelled]) if row["Benchmark"].value == "XSTest, safe"]
    assert [row["Judge"].split("-")[0] for row in rows] == ["majority", "phrases", "strongreject", "refused"]
    assert rows[0]["Rate"] == rows[1]["Rate"] != rows[3]["Rate"]
    assert rows[0]["Judges agree"].detail.endswith("16/20") and rows[1]["Judges agree"] == ABSENT
    assert "Judge" not in rate_rows([before])[0]
