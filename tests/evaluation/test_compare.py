"""What changed between two models, in pairs: by cell, over attacks, across seeds."""

import json

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Attempt, Outcome
from cada_trl.evaluation.compare import ALL_ATTACKS, Comparison, Evaluated, compare
from cada_trl.statistics.intervals import adjusted_mean
from cada_trl.statistics.paired import sign_flip
from cada_trl.statistics.seeds import difference_across_seeds, pooled_spread


def outcome(number, complied, attack="none", prompt="", score=None):
    item = Item(f"set-{number}", "set", f"request {number}", "hate", "", harmful=True)
    refused = None if complied is None else not complied
    return Outcome(Attempt(item, attack, prompt or item.request, ""), refused, None, score, False, False)


def run(complied, attack="none", name="run", judge_id="judge-1"):
    return Evaluated(name, judge_id, [outcome(i, one, attack) for i, one in enumerate(complied)])


def joined(*parts):
    return Evaluated("run", "judge-1", [one for part in parts for one in part.outcomes])


def test_a_cell_is_mcnemars_table_with_the_adjusted_difference():
    # 6 stop complying, 1 starts, 2 comply both times, 1 never
    before = run([True] * 6 + [False] + [True] * 2 + [False])
    after = run([False] * 6 + [True] + [True] * 2 + [False])
    change = compare([before], [after], 0.9).cells[0].complied
    assert (change.n_pairs, change.n_items, change.only_before, change.only_after) == (10, 10, 6, 1)
    assert (change.before, change.after) == (0.8, pytest.approx(0.3))
    assert change.p == change.p_holm == 2 * (1 + 7) / 2**7
    expected = adjusted_mean([-1.0] * 6 + [1.0] + [0.0] * 3, (-1.0, 1.0))
    assert (change.difference, change.low, change.high) == expected


def test_pairs_are_matched_by_key_and_not_by_order():
    before, after = run([True, False, False]), run([True, False, False])
    mixed = Evaluated("run", "judge-1", list(reversed(after.outcomes)))
    assert compare([before], [mixed], 0.9).cells[0].complied.difference == 0.0


def test_items_of_one_side_and_other_wordings_are_left_out_and_counted():
    before = joined(run([True, True, True]))
    after = Evaluated("run", "judge-1", [outcome(0, False), outcome(1, False, prompt="in other words")])
    cell = compare([before], [after], 0.9).cells[0]
    assert (cell.asked_before, cell.asked_after, cell.shared, cell.complied.n_pairs) == (3, 2, 1, 1)
    assert cell.complied.difference == -1.0


def test_pairs_unscored_on_either_side_are_left_out_and_withhold_below_the_coverage():
    before, after = run([True, None, True, True]), run([False, False, None, True])
    change = compare([before], [after], 0.5).cells[0].complied
    assert (change.n_pairs, change.difference) == (2, -0.5)
    change = compare([before], [after], 0.9).cells[0].complied
    assert (change.n_pairs, change.difference, change.p, change.before) == (2, None, None, None)
    assert change.withheld == "known for 2 of 4 (50.0 %), less than min_coverage 90 %"


def test_a_cell_of_one_side_only_has_a_reason_and_no_number():
    cells = compare([run([True])], [joined(run([True]), run([True], "pair"))], 0.9).cells
    assert [cell.attack for cell in cells] == ["none", "pair"]
    assert cells[1].complied.withheld == "no attempt has the same prompt on both sides"
    assert cells[1].complied.p_holm is None
    assert cells[0].complied.p_holm == 1.0


def test_attacks_on_one_item_are_pooled_as_one_item():
    # item 0 changes under all three attacks, items 1 and 2 under none of them
    sides = [joined(*[run([first, False, True], attack) for attack in ("none", "pair", "pap")]) for first in (1, 0)]
    (pooled,) = compare([sides[0]], [sides[1]], 0.9).pooled
    change = pooled.complied
    assert (pooled.attack, change.n_pairs, change.n_items) == (ALL_ATTACKS, 9, 3)
    assert (change.difference, change.low, change.high) == adjusted_mean([-1.0, 0.0, 0.0], (-1.0, 1.0))
    assert change.p == sign_flip([-3, 0, 0]) == 1.0
    assert sign_flip([-1, -1, -1]) == 0.25  # what counting every attempt would claim
    assert change.p_holm is None


def test_an_item_with_fewer_attacks_counts_as_much_as_another():
    before = joined(run([True, True]), run([True], "pair"))
    after = joined(run([True, False]), run([False], "pair"))
    # item 0: none 0, pair -1, mean -0.5; item 1: none -1
    change = compare([before], [after], 0.9).pooled[0].complied
    assert (change.before, change.after, change.difference) == (1.0, 0.25, -0.75)


def test_a_benchmark_under_one_attack_is_not_pooled():
    assert compare([run([True])], [run([False])], 0.9).pooled == []


def test_one_attack_that_both_sides_were_asked_is_not_called_all_of_them():
    several, one = joined(run([True, True]), run([True, False], "pair")), run([False, True])
    assert compare([several], [one], 0.9).pooled == compare([one], [several], 0.9).pooled == []
    assert len(compare([several], [several], 0.9).pooled) == 1


def test_holm_covers_the_cells():
    # six changes of six: 2/64; three of three: 2/8; sorted, the first times 2
    before = joined(run([True] * 6), run([True] * 3, "pair"))
    after = joined(run([False] * 6), run([False] * 3, "pair"))
    cells = compare([before], [after], 0.9).cells
    assert [cell.complied.p_holm for cell in cells] == [2 * 2 / 64, 2 / 8]


def test_harmful_scores_have_a_difference_and_no_test():
    sides = [
        Evaluated(name, "judge-1", [outcome(i, True, score=score) for i, score in enumerate(scores)])
        for name, scores in (("before", [1.0, 0.5, 0.0]), ("after", [0.25, 0.5, 0.0]))
    ]
    change = compare([sides[0]], [sides[1]], 0.9).cells[0].harmful_score
    assert (change.difference, change.low, change.high) == adjusted_mean([-0.75, 0.0, 0.0], (-1.0, 1.0))
    assert (change.p, change.only_before) == (None, None)


def test_several_seeds_are_compared_by_their_hierarchical_means():
    base = run([True] * 10, name="base")
    seeds = [[True] * n + [False] * (10 - n) for n in (4, 5, 6)]
    trained = [run(one, name=f"s{i}") for i, one in enumerate(seeds)]
    comparison = compare([base], trained, 0.9, trained=(False, True))
    change = comparison.cells[0].complied
    rows = [[float(bool(one)) for one in seed] for seed in seeds]
    expected = difference_across_seeds([[1.0] * 10], rows, trained=(False, True))
    assert (change.difference, change.low, change.high) == expected
    assert (change.before, change.after, change.sd_before) == (1.0, pytest.approx(0.5), None)
    assert change.sd_after == pytest.approx(0.1)
    assert change.p is None
    assert (comparison.before, comparison.after) == (["base"], ["s0", "s1", "s2"])


def seeds_of(*counts):
    return [run([True] * n + [False] * (10 - n), name=f"s{n}") for n in counts]


def test_configurations_that_stand_beside_share_their_spread():
    base, first, second = run([True] * 10, name="base"), seeds_of(4, 5, 6), seeds_of(1, 2, 3)
    change = compare([base], first, 0.9, [first, second], (False, True)).cells[0].complied
    rows = [[1.0] * n + [0.0] * (10 - n) for n in (4, 5, 6)]
    pool = pooled_spread([[0.4, 0.5, 0.6], [0.1, 0.2, 0.3]])
    expected = difference_across_seeds([[1.0] * 10], rows, pool, (False, True))
    assert (change.difference, change.low, change.high) == pytest.approx(expected)
    alone = compare([base], first, 0.9, trained=(False, True)).cells[0].complied
    assert alone.low < change.low  # t of two against t of four


def test_two_configurations_of_two_seeds_have_a_difference_and_no_interval():
    first, second = seeds_of(4, 6), seeds_of(1, 3)
    change = compare(first, second, 0.9, [first, second]).cells[0].complied
    assert (change.difference, change.low, change.high, change.withheld) == (pytest.approx(-0.3), None, None, None)


def test_what_one_training_alone_was_asked_has_no_interval_of_its_own_where_the_page_has_none():
    first = seeds_of(4, 6)
    elsewhere = [run([True] * 3, "pair", f"o{n}") for n in range(2)]
    change = compare([run([True] * 10, name="base")], first, 0.9, [first, elsewhere], (False, True)).cells[0].complied
    assert (change.difference, change.low, change.high) == (pytest.approx(-0.5), None, None)


def test_one_seed_beside_others_is_still_tested_against_one_model():
    base, one = run([True] * 10, name="base"), run([False] * 10, name="one")
    change = compare([base], [one], 0.9, [[one], seeds_of(4, 5, 6), seeds_of(1, 2, 3)], (False, True)).cells[0].complied
    assert change.p == 2 / 2**10


def test_an_item_unscored_in_one_seed_is_left_out_of_all():
    change = compare([run([True, True])], [run([True, False]), run([None, False])], 0.5).cells[0].complied
    assert (change.n_pairs, change.before, change.after) == (1, 1.0, 0.0)


def test_other_judges_and_an_empty_side_are_refused():
    with pytest.raises(UserError, match="different judges"):
        compare([run([True])], [run([True], judge_id="judge-2")], 0.9)
    with pytest.raises(UserError, match="at least one"):
        compare([], [run([True])], 0.9)


def test_a_comparison_comes_back_from_strict_json_as_it_was():
    sides = [joined(run([True, None, one]), run([True, False, one], "pair")) for one in (True, False)]
    comparison = compare([sides[0]], [sides[1]], 0.9)
    assert Comparison.from_json(json.loads(json.dumps(comparison.to_json(), allow_nan=False))) == comparison
