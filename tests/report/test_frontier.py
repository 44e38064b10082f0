import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.report.frontier import (
    POOLED,
    Measured,
    Point,
    Share,
    axes_shown,
    configuration_shares,
    frontier,
    measured,
    pareto_front,
    read,
    share,
)
from cada_trl.report.records import CellRecord
from cada_trl.report.sweep_part import frontier_cell, reading
from cada_trl.statistics.intervals import Z_95, centre_and_error, wilson

fraction = st.floats(0, 1)


def point(label, asr, nrr):
    return Point(label, None, Share(1, 1, asr), Share(1, 1, nrr))


def cell(label, seed, complied, answered):
    by_measure = {
        name: {f"{name}{i}": (f"{name}{i}", one) for i, one in enumerate(outcomes)}
        for name, outcomes in (("asr", complied), ("nrr", answered))
    }
    return Measured(CellRecord(label, label, seed, None, []), by_measure, 0.9)


def test_the_front_by_hand_and_a_point_without_a_number_is_not_on_it_and_beats_none():
    points = [point("safe", 0.1, 0.5), point("beaten", 0.3, 0.4), point("helpful", 0.4, 0.9), point("tie", 0.4, 0.8)]
    assert [one.label for one in pareto_front(points)] == ["safe", "helpful"]
    assert [one.label for one in pareto_front([point("unknown", None, 1.0), point("known", 0.9, 0.1)])] == ["known"]


@given(st.lists(st.tuples(fraction, fraction), min_size=1, max_size=12))
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(places):
    points = [point(str(i), *place) for i, place in enumerate(places)]
    front = pareto_front(points)
    assert front
    for one in points:
        beaten = [
            other
            for other in front
            if other.asr.value <= one.asr.value
            and other.nrr.value >= one.nrr.value
            and (other.asr.value, other.nrr.value) != (one.asr.value, one.nrr.value)
        ]
        assert (one in front) != bool(beaten)


def test_seeds_of_one_configuration_are_one_point():
    cells = [cell("b", seed, [i < 4 + seed for i in range(20)], [True] * 20) for seed in range(3)]
    found = frontier(cells, "asr", "nrr")
    (mean,) = found.points
    assert mean.asr.value == pytest.approx(5 / 20)
    assert [one.asr.value for one in found.seeds] == [0.2, 0.25, 0.3]


def test_the_model_before_training_borrows_no_spread_and_adds_none():
    initial = cell("initial", 0, [i < 6 for i in range(20)], [True] * 20)
    initial = Measured(replace(initial.cell, seed=None), initial.by_measure, 0.9)
    trained = [cell("a", seed, [i < seed for i in range(20)], [True] * 20) for seed in range(5)]
    found = frontier([initial, *trained], "asr", "nrr")
    first, second = found.points
    assert (first.trained, first.asr.interval, found.asr_spread.n_configurations) == (False, "requests", 1)
    assert (first.asr.low, first.asr.high) == pytest.approx(wilson(6, 20))
    assert (second.trained, second.asr.interval) == (True, "pooled")


def test_neighbours_on_the_front_are_tested_in_pairs_and_adjusted_together():
    cells = [
        cell("safe", 0, [False] * 20, [i < 10 for i in range(20)]),
        cell("helpful", 0, [i < 8 for i in range(20)], [i < 11 for i in range(20)]),
    ]
    (two,) = frontier(cells, "asr", "nrr").neighbours
    assert (two.first, two.second) == ("safe", "helpful")
    assert two.asr.p == pytest.approx(2 / 2**8) and two.nrr.p == 1.0  # eight one way; one one way
    assert two.asr.p_holm == pytest.approx(4 / 2**8)
    assert two.asr.difference == pytest.approx(0.4) and two.asr.low is not None and two.asr.low > 0


def test_a_probe_that_was_reworded_under_its_id_is_no_pair_and_the_cells_were_asked_otherwise(run):
    reworded = [row.model_copy(update={"request": f"Please: {row.request}"}) for row in run.after]
    runs = [run, replace(run, after=reworded)]
    cells = [measured(CellRecord(name, name, 0, one, [])) for name, one in zip("ab", runs, strict=True)]
    found = frontier(cells, "probe/harmful", "probe/harmless")
    assert [(one.asr.n_pairs, one.asr.p) for one in found.neighbours] == [(0, None)]
    assert not found.same_requests


@pytest.mark.parametrize(("n_seeds", "known"), [(2, False), (3, True)])  # two configurations: df 2 and 4
def test_seeds_have_no_test_and_an_interval_where_they_are_enough(n_seeds, known):
    cells = [
        cell(name, seed, [i < k for i in range(20)], [i < k for i in range(20)])
        for name, k in (("a", 3), ("b", 9))
        for seed in range(n_seeds)
    ]
    (two,) = frontier(cells, "asr", "nrr").neighbours
    assert two.asr.p is None and (two.asr.low is not None) == known
    assert two.asr.difference == pytest.approx(0.3)
    assert reading(two) == ("clear in ASR and NRR" if known else "not known")


def test_a_cell_that_lacks_the_measure_is_left_out():
    lacking = Measured(CellRecord("x", "x", 0, None, []), {"asr": {"a": ("a", True)}}, 0.9)
    assert [one.label for one in frontier([lacking, cell("b", 0, [True], [True])], "asr", "nrr").points] == ["b"]


def seeds(*counts, n=20):
    """A seed for each count: it complies with the first so many items of n."""
    return read([{str(i): (str(i), i < count) for i in range(n)} for count in counts], 0.9)


def test_one_model_has_wilsons_interval_and_an_item_under_several_attacks_counts_once():
    one = share(*seeds(3, n=4))
    assert (one.n, one.asked, one.value, one.interval) == (4, 4, 0.75, "requests")
    assert (one.low, one.high) == pytest.approx(wilson(3, 4))
    answers = {"a1": ("a", True), "a2": ("a", True), "a3": ("a", True), "b1": ("b", False)}
    assert share(*read([answers], 0.9)).value == 0.5


def test_a_rate_of_too_few_scored_pairs_is_withheld_and_no_number():
    one = share(*read([{"a": ("a", True), "b": ("b", None)}], 0.9))
    assert one.value is None and one.withheld is not None and "1 of 2" in one.withheld


def test_an_interval_is_of_the_pool_and_of_the_requests():
    # s_i^2: (0.05^2 / 2) twice and 0.0025 with df 2: (2 * 0.00125 + 2 * 0.0025) / 4 = 0.001875
    shares, pool = configuration_shares([seeds(4, 5), seeds(10, 11), seeds(3, 4, 5)], [True] * 3)
    assert (pool.df, pool.sd) == (4, pytest.approx(math.sqrt(0.001875)))
    items = [1.0] * 4 + [0.5] + [0.0] * 15
    centre, error = centre_and_error(items, (0.0, 1.0))
    assert shares[0].value == pytest.approx(0.225)
    assert shares[0].high == pytest.approx(centre + math.hypot(2.7764 * math.sqrt(0.001875 / 2), Z_95 * error))
    assert shares[0].interval == "pooled"


def test_one_seed_borrows_the_spread_and_is_said_to():
    shares, _ = configuration_shares([seeds(2, 4, 6, 8, 10), seeds(6)], [True, True])
    assert shares[1].interval == "borrowed"
    assert shares[1].low is not None and shares[1].low < wilson(6, 20)[0]
    assert str(frontier_cell(shares[1])).endswith("; borrowed; n 20/20)")


def test_few_seeds_have_no_interval_but_their_lowest_and_highest():
    shares, _ = configuration_shares([seeds(4, 6), seeds(8)], [True, True])
    assert [(one.low, one.high, one.interval) for one in shares] == [(None, None, None)] * 2
    assert [str(frontier_cell(one)) for one in shares] == ["25.0 % (seeds 20.0 to 30.0; n 20/20)", "40.0 % (n 20/20)"]


def test_one_seed_everywhere_is_one_model_each():
    shares, pool = configuration_shares([seeds(4), seeds(8)], [True, True])
    assert pool.df == 0 and [one.interval for one in shares] == ["requests", "requests"]


def test_a_withheld_configuration_is_no_number_and_not_in_the_pool():
    lacking = read([{"a": ("a", None)}, {"a": ("a", True)}], 0.9)
    shares, pool = configuration_shares([lacking, seeds(4, 6)], [True, True])
    assert shares[0].value is None and shares[0].withheld and pool.n_configurations == 1


@pytest.mark.parametrize(("prompts", "offered"), [(("a", "a"), True), (("a", "b"), False)])
def test_all_attacks_together_are_an_axis_only_where_every_cell_was_asked_the_same_prompts(prompts, offered):
    cells = []
    for own in prompts:
        none, adaptive = {"raw": ("s/1", True)}, {own: ("s/1", False)}
        by_measure = {"asr/s/none": none, "asr/s/adaptive": adaptive, POOLED: none | adaptive, "nrr/x/none": {}}
        cells.append(Measured(CellRecord(own, own, 0, None, []), by_measure, 0.9))
    alone = [("asr/s/none", "nrr/x/none"), ("asr/s/adaptive", "nrr/x/none")]
    assert axes_shown(cells) == [(POOLED, "nrr/x/none")] * offered + alone


def test_seeds_are_held_against_all_that_was_asked_and_not_against_what_they_share():
    first = {str(i): (str(i), True) for i in range(20)}
    own, _ = read([first, {**dict(list(first.items())[1:]), "other": ("0", False)}], 0.9)
    assert (own.n, own.asked, own.value) == (19, 20, 1.0)
    half, _ = read([{"a": ("i", True), "b": ("j", True)}, {"a": ("i", True), "c": ("j", True)}], 0.9)
    assert half.withheld is not None and half.withheld.startswith("known for 1 of 2 (50.0 %)")
    none, _ = read([{"a": ("i", True)}, {"b": ("i", True)}], 0.9)
    assert none.withheld == "not comparable: no attempt has the same prompt in all seeds"
