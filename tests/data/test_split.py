from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.data.split import even_quotas, split_harmful, split_harmless
from cada_trl.errors import UserError
from cada_trl.records import Request

from .conftest import DataOf


def requests(counts: dict[str, int], harmful: bool = True) -> list[Request]:
    return [Request(f"{h}-{i}", f"{h} number {i}", h, harmful, "s") for h, n in counts.items() for i in range(n)]


ROWS = requests({"hate": 30, "privacy": 20, "elections": 6})


def test_train_probe_and_held_out_are_disjoint_and_as_large_as_asked(data_of: DataOf) -> None:
    split = split_harmful(ROWS, data_of("n_train=20", "n_probe=10", "held_out_hazards=[elections]"), seed=0)
    ids = [request.id for part in (split.train, split.probe, split.held_out) for request in part]
    assert (len(split.train), len(split.probe), len(split.held_out)) == (20, 10, 6)
    assert len(set(ids)) == 36
    assert {request.hazard for request in split.held_out} == {"elections"}
    assert "elections" not in {request.hazard for request in split.train + split.probe}


@pytest.mark.parametrize("sampling", ["natural", "stratified"])
def test_the_order_of_the_input_decides_nothing(sampling: str, data_of: DataOf) -> None:
    data = data_of("n_train=20", "n_probe=10", f"sampling={sampling}")
    assert split_harmful(ROWS, data, 0) == split_harmful(ROWS[::-1], data, 0)


def test_another_seed_draws_other_requests(data_of: DataOf) -> None:
    data = data_of("n_train=20", "n_probe=10")
    assert split_harmful(ROWS, data, 0).train != split_harmful(ROWS, data, 1).train


def test_a_larger_n_train_keeps_the_probe_and_the_first_requests(data_of: DataOf) -> None:
    small = split_harmful(ROWS, data_of("n_train=20", "n_probe=10"), 0)
    large = split_harmful(ROWS, data_of("n_train=40", "n_probe=10"), 0)
    assert large.probe == small.probe
    assert large.train[:20] == small.train


def test_stratified_is_as_even_as_the_counts_allow_and_leaves_train_the_rare_hazard(data_of: DataOf) -> None:
    split = split_harmful(ROWS, data_of("n_train=24", "n_probe=12", "sampling=stratified"), 0)
    # elections: 6 rows, at most 6 * 12 / 36 = 2 to the probe; the other 10 are halved
    assert Counter(request.hazard for request in split.probe) == {"hate": 5, "privacy": 5, "elections": 2}
    assert Counter(request.hazard for request in split.train) == {"hate": 10, "privacy": 10, "elections": 4}


@pytest.mark.parametrize("sampling", ["natural", "stratified"])
def test_every_row_can_be_used(sampling: str, data_of: DataOf) -> None:
    split = split_harmful(ROWS, data_of("n_train=46", "n_probe=10", f"sampling={sampling}"), 0)
    assert (len(split.train), len(split.probe)) == (46, 10)


def test_too_few_requests_are_refused_with_the_largest_possible_n_train(data_of: DataOf) -> None:
    data = data_of("n_train=50", "n_probe=10", "held_out_hazards=[elections]")
    with pytest.raises(UserError, match=r"need 60 requests; 50 are left \(6 held out\); the largest n_train is 40"):
        split_harmful(ROWS, data, 0)


def test_a_probe_larger_than_what_is_left_is_refused(data_of: DataOf) -> None:
    with pytest.raises(UserError, match="lower n_probe below 56 as well"):
        split_harmful(ROWS, data_of("n_train=1", "n_probe=56"), 0)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1), st.data())
def test_quotas_sum_to_n_and_differ_by_one_unless_a_name_ran_out(counts: dict[str, int], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, sum(counts.values())))
    quotas = even_quotas(counts, n)
    assert sum(quotas.values()) == n
    assert all(quotas[name] <= counts[name] for name in counts)
    fullest = max(quotas.values())
    assert all(quotas[name] >= fullest - 1 or quotas[name] == counts[name] for name in counts)


def test_a_third_of_each_hazards_look_alikes_is_the_probe() -> None:
    rows = requests({"hate": 9, "privacy": 4}, harmful=False)
    train, probe = split_harmless(rows, [], seed=0)
    assert Counter(request.hazard for request in probe) == {"hate": 3, "privacy": 2}
    assert Counter(request.hazard for request in train) == {"hate": 6, "privacy": 2}
    assert not set(train) & set(probe)
    assert split_harmless(rows[::-1], [], seed=0) == (train, probe)


def test_look_alikes_of_a_held_out_hazard_are_never_trained_on() -> None:
    train, probe = split_harmless(requests({"hate": 9, "privacy": 4}, harmful=False), ["hate"], seed=0)
    assert {request.hazard for request in train} == {"privacy"}
    assert Counter(request.hazard for request in probe)["hate"] == 9
