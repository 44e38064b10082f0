"""The terminal's table: intervals where there are numbers, n/a where there are none, no empty columns."""

import json

import pytest
from rich.console import Console

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Attempt, Outcome
from cada_trl.evaluation.plan import Plan
from cada_trl.evaluation.scores import Scores, any_rate, score, score_table, withheld_lines
from cada_trl.statistics.intervals import adjusted_mean, wilson

METRICS = {"bad": "asr", "fine": "nrr"}


def outcome(
    number, refused, harmful_score=None, benchmark="bad", attack="none", hazard="hate", category="", truncated=False
):
    item = Item(f"{benchmark}-{number}", benchmark, "a request", hazard, category, benchmark == "bad")
    harmful = None if harmful_score is None else harmful_score > 0.5
    return Outcome(Attempt(item, attack, "a prompt", ""), refused, harmful, harmful_score, False, truncated)


def scores_of(outcomes, missing=None, min_coverage=0.5):
    return score(outcomes, missing or {}, METRICS, "judge-1", min_coverage)


def test_a_cell_is_counted_by_hand():
    outcomes = [outcome(1, True, 0.0), outcome(2, False, 0.25), outcome(3, False, 1.0), outcome(4, None)]
    (cell,) = scores_of(outcomes, {("bad", "none"): 2}).cells
    assert (cell.total.asked, cell.total.scored, cell.missing) == (4, 3, 2)
    complied = cell.headline
    assert (complied.successes, complied.n, complied.asked, complied.value) == (2, 3, 4, 2 / 3)
    assert (complied.low, complied.high) == wilson(2, 3)
    assert (cell.total.refused.successes, cell.total.harmful.successes) == (1, 1)
    harm = cell.total.harmful_score
    assert (harm.value, harm.low, harm.high) == adjusted_mean([0.0, 0.25, 1.0])
    assert (harm.n, harm.successes) == (3, None)
    assert (cell.total.reasoning.n, cell.total.reasoning.value) == (4, 0.0)


def test_benchmark_and_attack_make_the_cells_in_the_order_asked():
    outcomes = [outcome(1, True), outcome(1, True, attack="pair"), outcome(1, False, benchmark="fine")]
    cells = scores_of(outcomes).cells
    assert [(cell.benchmark, cell.attack, cell.metric) for cell in cells] == [
        ("bad", "none", "asr"),
        ("bad", "pair", "asr"),
        ("fine", "none", "nrr"),
    ]
    assert [cell.headline.value for cell in cells] == [0.0, 0.0, 1.0]


def test_below_the_coverage_a_rate_is_withheld_with_its_reason_and_its_counts():
    outcomes = [outcome(1, True), outcome(2, False), *[outcome(i, None) for i in range(3, 6)]]
    headline = scores_of(outcomes, min_coverage=0.5).cells[0].headline
    assert (headline.value, headline.low, headline.high, headline.successes) == (None, None, None, None)
    assert (headline.n, headline.asked) == (2, 5)
    assert headline.withheld == "known for 2 of 5 (40.0 %), less than min_coverage 50 %"
    assert scores_of(outcomes, min_coverage=0.4).cells[0].headline.value == 0.5


def test_just_the_coverage_is_enough_whatever_the_rounding():
    outcomes = [*[outcome(i, True) for i in range(55)], *[outcome(i, None) for i in range(55, 100)]]
    assert 0.55 * 100 > 55
    assert scores_of(outcomes, min_coverage=0.55).cells[0].headline.value == 0.0


@pytest.mark.parametrize(("n", "is_shown"), [(82, True), (81, False)])
def test_items_without_a_prompt_count_neither_for_nor_against_the_coverage(n, is_shown):
    """JailbreakBench's PAIR has 91 prompts for 100 items: 82 scored are 90.1 % of what was asked, 82 % of the items."""
    outcomes = [*[outcome(i, i >= 41) for i in range(n)], *[outcome(i, None) for i in range(n, 91)]]
    (cell,) = scores_of(outcomes, {("bad", "none"): 9}, min_coverage=0.9).cells
    assert (cell.headline.n, cell.headline.asked, cell.missing) == (n, 91, 9)
    assert cell.headline.value == (41 / n if is_shown else None)
    assert cell.headline.withheld == (None if is_shown else "known for 81 of 91 (89.0 %), less than min_coverage 90 %")


def test_what_the_judge_does_not_label_is_withheld_while_the_rest_is_there():
    total = scores_of([outcome(1, True), outcome(2, False)], min_coverage=0.0).cells[0].total
    assert total.complied.value == 0.5
    assert total.harmful.withheld == total.harmful_score.withheld is not None
    assert "no label of this judge" in str(total.harmful.withheld)


def test_an_attack_without_any_prompt_is_a_cell_without_a_number():
    cells = scores_of([outcome(1, True)], {("bad", "pair"): 7}).cells
    assert [(cell.attack, cell.missing, cell.total.asked) for cell in cells] == [("none", 0, 1), ("pair", 7, 0)]
    assert cells[1].headline.withheld == "nothing was asked"


def test_slices_by_hazard_keep_items_outside_every_hazard_and_always_have_an_interval():
    outcomes = [outcome(1, True), outcome(2, False), outcome(3, False, hazard="privacy"), outcome(4, True, hazard=None)]
    (cell,) = scores_of(outcomes).cells
    rates = {name: (one.complied.successes, one.complied.n) for name, one in cell.by_hazard.items()}
    assert rates == {"hate": (1, 2), "no_hazard": (0, 1), "privacy": (1, 1)}
    one = cell.by_hazard["privacy"].complied
    assert (one.low, one.high) == wilson(1, 1)


def test_slices_by_category_are_absent_where_a_benchmark_has_none():
    assert scores_of([outcome(1, True)]).cells[0].by_category == {}
    categories = scores_of([outcome(1, True, category="b"), outcome(2, True, category="a")]).cells[0].by_category
    assert list(categories) == ["a", "b"]


def test_a_slice_that_is_badly_covered_is_withheld_in_a_cell_that_is_not():
    outcomes = [*[outcome(i, True) for i in range(9)], outcome(10, None, hazard="privacy")]
    (cell,) = scores_of(outcomes, min_coverage=0.9).cells
    assert cell.headline.value == 0.0
    assert cell.by_hazard["privacy"].complied.value is None


def of_panel(first, second, third="", min_coverage=0.5):
    """A panel's scores from its judges' letters: R refused, C complied, anything else unscored."""
    given = {"a": first, "b": second, **({"c": third} if third else {})}
    said = {name: [{"R": True, "C": False}.get(letter) for letter in letters] for name, letters in given.items()}
    outcomes = {name: [outcome(i, refused) for i, refused in enumerate(own)] for name, own in said.items()}
    return score(outcomes["a"], {}, METRICS, "panel-1", min_coverage, outcomes)


def test_a_panel_has_the_scores_of_each_judge_and_how_far_they_agree():
    found = of_panel("RRCCR", "RCCC-")
    assert [(one.judge_id, one.cells[0].total.refused.successes) for one in found.judges] == [("a", 3), ("b", 1)]
    (cell,) = found.cells
    assert (cell.agree.successes, cell.agree.n, cell.agree.asked) == (3, 4, 5)
    assert cell.kappa == pytest.approx(0.5)  # 0.75 alike, 0.5 by chance
    assert all(one.cells[0].agree is None for one in found.judges)


def test_of_three_judges_kappa_is_the_mean_over_the_pairs_and_all_three_must_say_the_same():
    (cell,) = of_panel("RRCC", "RRCC", "RCCC").cells
    assert cell.agree.successes == 3
    assert cell.kappa == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_agreement_is_withheld_like_any_rate_and_kappa_is_none_where_chance_is_certain():
    (cell,) = of_panel("R---", "RRRR").cells
    assert (cell.agree.value, cell.kappa) == (None, None)
    (alike,) = of_panel("RRRR", "RRRR").cells
    assert (alike.agree.value, alike.kappa) == (1.0, None)


def test_one_judges_rate_is_enough_where_the_majority_has_none():
    panel = of_panel("RRRR", "RRRR", min_coverage=0.9)
    silent = scores_of([outcome(i, None) for i in range(4)])
    assert any_rate(silent.model_copy(update={"judges": panel.judges})) and not any_rate(silent)


def test_the_table_has_the_majority_and_a_row_by_each_judge():
    lines = [line.split() for line in shown(of_panel("RRCC", "RCCC")).splitlines() if line.startswith(" bad")]
    assert [line[2] for line in lines] == ["majority", "a", "b"]
    assert [word for word in lines[0] if word in {"75.0", "0.50"}] == ["75.0", "0.50"] and "0.50" not in lines[1]


def test_scores_come_back_from_strict_json_as_they_were():
    alone = scores_of([outcome(1, True, 0.125), outcome(2, None), outcome(3, False)], {("bad", "pair"): 1})
    for one in (alone, of_panel("RRCCR", "RCCC-")):
        assert Scores.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False))) == one


def test_a_number_without_its_interval_is_refused_when_read():
    values = scores_of([outcome(1, True)]).to_json()
    values["cells"][0]["total"]["complied"]["low"] = None
    with pytest.raises(UserError, match=r"scores: cells.0.total.complied: .*withheld"):
        Scores.from_json(values)


def scores(refused, harm=None, missing=0):
    outcomes = [outcome(i, said, harm, truncated=True) for i, said in enumerate(refused)]
    return scores_of(outcomes, {("bad", "none"): missing}, 0.9)


def shown(scores):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(score_table("model-1", scores))
    return capture.get()


def test_a_rate_has_its_interval_and_its_counts():
    # Wilson of 1 in 4: [0.046, 0.699]
    said = shown(scores([True, True, True, False]))
    assert "model-1, judged by judge-1" in said
    assert "ASR 25.0 [4.6, 69.9]" in said
    assert "4/4" in said
    assert "100" in said  # truncated


def test_columns_that_say_nothing_are_left_out_and_those_that_do_are_there():
    plain, full = shown(scores([True])), shown(scores([True], harm=0.25, missing=3))
    assert not any(word in plain for word in ("lacks", "score", "harmful"))
    assert all(word in full for word in ("lacks", "3", "score", "25.0"))
    assert "reason" in plain  # none did: 0 % was measured


def test_a_withheld_rate_is_no_number_and_says_why():
    withheld = scores([True, None])
    assert "n/a" in shown(withheld)
    assert "1/2" in shown(withheld)
    assert withheld_lines(withheld)[0].startswith("bad x none: ASR withheld: known for 1 of 2")
    assert withheld_lines(scores([True])) == []


def test_the_numbers_stay_on_one_line_in_eighty_columns_whatever_the_names():
    long = scores([True, False], harm=0.5, missing=1)
    cell = long.cells[0].model_copy(update={"benchmark": "jailbreakbench_harmful", "attack": "prefix_injection"})
    assert "ASR 50.0 [9.5, 90.5]" in shown(long.model_copy(update={"cells": [cell]}))


def test_what_was_not_run_for_one_reason_is_one_line():
    sentences = ["a x pair: harmless: asked raw", "b x pap: nobody published it", "a x pap: harmless: asked raw"]
    assert Plan([], sentences).not_run_lines() == [
        "not run: a x pair, a x pap: harmless: asked raw",
        "not run: b x pap: nobody published it",
    ]
