from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.data.rows import Row
from cada_trl.data.split import (
    check_no_leak,
    even_quotas,
    n_trained,
    pair_roles,
    split_harmful,
    split_harmless,
    split_twins,
    wanted_twin,
)
from cada_trl.errors import UserError
from cada_trl.records import Request


def requests(counts, harmful=True):
    return [Request(f"{h}-{i}", f"{h} number {i}", h, harmful, "s") for h, n in counts.items() for i in range(n)]


ROWS = requests({"hate": 30, "privacy": 20, "elections": 6})


def test_train_probe_and_held_out_are_disjoint_and_as_large_as_asked(data_of):
    split = split_harmful(ROWS, data_of("n_train=20", "n_probe=10", "held_out_hazards=[elections]"), seed=0)
    ids = [request.id for part in (split["train"], split["probe"], split["held_out"]) for request in part]
    assert (len(split["train"]), len(split["probe"]), len(split["held_out"])) == (20, 10, 6)
    assert len(set(ids)) == 36
    assert {request.hazard for request in split["held_out"]} == {"elections"}
    assert "elections" not in {request.hazard for request in split["train"] + split["probe"]}


@pytest.mark.parametrize("sampling", ["natural", "stratified"])
def test_the_order_of_the_input_decides_nothing(sampling, data_of):
    data = data_of("n_train=20", "n_probe=10", f"sampling={sampling}")
    assert split_harmful(ROWS, data, 0) == split_harmful(ROWS[::-1], data, 0)


def test_another_seed_draws_other_requests(data_of):
    data = data_of("n_train=20", "n_probe=10")
    assert split_harmful(ROWS, data, 0)["train"] != split_harmful(ROWS, data, 1)["train"]


def test_a_larger_n_train_keeps_the_probe_and_the_first_requests(data_of):
    small = split_harmful(ROWS, data_of("n_train=20", "n_probe=10"), 0)
    large = split_harmful(ROWS, data_of("n_train=40", "n_probe=10"), 0)
    assert large["probe"] == small["probe"]
    assert large["train"][:20] == small["train"]


def test_stratified_is_as_even_as_the_counts_allow_and_leaves_train_the_rare_hazard(data_of):
    split = split_harmful(ROWS, data_of("n_train=24", "n_probe=12", "sampling=stratified"), 0)
    # elections: 6 rows, at most 6 * 12 / 36 = 2 to the probe; the other 10 are halved
    assert Counter(request.hazard for request in split["probe"]) == {"hate": 5, "privacy": 5, "elections": 2}
    assert Counter(request.hazard for request in split["train"]) == {"hate": 10, "privacy": 10, "elections": 4}


@pytest.mark.parametrize(("n_train", "n_probe"), [(46, 10), (1, 55)])
@pytest.mark.parametrize("sampling", ["natural", "stratified"])
def test_every_row_can_be_used(sampling, n_train, n_probe, data_of):
    split = split_harmful(ROWS, data_of(f"n_train={n_train}", f"n_probe={n_probe}", f"sampling={sampling}"), 0)
    assert (len(split["train"]), len(split["probe"])) == (n_train, n_probe)


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        (
            ROWS,
            "n_train=50 n_probe=10 held_out_hazards=[elections]",
            r"need 60 requests; 50 are left \(6 held out\); the largest n_train is 40",
        ),
        (ROWS, "n_train=1 n_probe=56", "n_train=1 n_probe=55 would fit"),
        (ROWS[:1], "n_train=1 n_probe=1", r"1 are left \(0 held out\); give more rows, or fewer held_out_hazards"),
    ],
)
def test_too_few_requests_are_refused_with_the_numbers_that_would_fit_if_any(rows, words, said, data_of):
    with pytest.raises(UserError, match=said):
        split_harmful(rows, data_of(*words.split()), 0)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1), st.data())
def test_quotas_sum_to_n_and_differ_by_one_unless_a_name_ran_out(counts, data):
    n = data.draw(st.integers(0, sum(counts.values())))
    quotas = even_quotas(counts, n)
    assert sum(quotas.values()) == n
    assert all(quotas[name] <= counts[name] for name in counts)
    fullest = max(quotas.values())
    assert all(quotas[name] >= fullest - 1 or quotas[name] == counts[name] for name in counts)


def test_a_third_of_each_hazards_look_alikes_is_the_probe():
    rows = requests({"hate": 9, "privacy": 4}, harmful=False)
    train, probe = split_harmless(rows, [], seed=0).values()
    assert Counter(request.hazard for request in probe) == {"hate": 3, "privacy": 2}
    assert Counter(request.hazard for request in train) == {"hate": 6, "privacy": 2}
    assert not set(train) & set(probe)
    assert split_harmless(rows[::-1], [], seed=0) == {"benign_train": train, "harmless_probe": probe}


def test_look_alikes_of_a_held_out_hazard_are_never_trained_on():
    train, probe = split_harmless(requests({"hate": 9, "privacy": 4}, harmful=False), ["hate"], seed=0).values()
    assert {request.hazard for request in train} == {"privacy"}
    assert Counter(request.hazard for request in probe)["hate"] == 9


def twins(counts, harmless_hazard=None):
    """Pairs of each hazard; the harmless row of the first of each may be of another."""
    return [
        Row(
            f"{hazard} pair {i} {'bad' if harmful else 'good'}",
            "file",
            "twins",
            harmful,
            harmless_hazard if harmless_hazard and i == 0 and not harmful else hazard,
            pair=f"{hazard}-{i}",
        )
        for hazard, n in counts.items()
        for i in range(n)
        for harmful in (True, False)
    ]


PAIRS = twins({"hate": 10, "privacy": 6, "elections": 3})


def split_of(rows, data, seed=0):
    roles = pair_roles(rows, data.held_out_hazards)
    wanted = [row for row in rows if wanted_twin(row, roles, data)]
    made = [Request(row.text, row.text, str(row.hazard), row.harmful, row.source, row.pair) for row in wanted]
    return split_twins(made, roles, data, seed), roles


def pairs_of(requests):
    return {request.pair for request in requests}


def test_the_probed_pairs_are_a_third_of_each_hazard_rounded_up_whatever_the_order():
    roles = pair_roles(PAIRS, [])
    assert Counter(pair.split("-")[0] for pair in roles.probe) == {"hate": 4, "privacy": 2, "elections": 1}
    assert pair_roles(PAIRS[::-1], []) == roles


def test_more_pairs_of_one_hazard_do_not_change_the_probe_of_another():
    more = pair_roles(twins({"hate": 30, "privacy": 6}), []).probe
    assert {pair for pair in more if pair.startswith("privacy")} == {
        pair for pair in pair_roles(PAIRS, []).probe if pair.startswith("privacy")
    }


def test_twins_are_trained_on_and_probed_in_whole_pairs(data_of):
    split, roles = split_of(PAIRS, data_of("data=twins"))
    assert pairs_of(split["train"]) == pairs_of(split["benign_train"])
    assert (
        pairs_of(split["probe"]) == pairs_of(split["harmless_probe"]) == pairs_of(split["twins_probe"]) == roles.probe
    )
    assert (len(split["train"]), len(split["probe"]), len(split["twins_probe"])) == (12, 7, 14)
    assert not pairs_of(split["train"]) & roles.probe
    assert split["held_out"] == []
    assert [request.harmful for request in split["twins_probe"]] == [True, False] * 7


def test_seed_and_n_train_change_what_is_trained_on_and_never_the_probes(data_of):
    first, _ = split_of(PAIRS, data_of("data=twins", "n_train=6"), seed=0)
    second, _ = split_of(PAIRS, data_of("data=twins", "n_train=6"), seed=1)
    whole, _ = split_of(PAIRS, data_of("data=twins"), seed=1)
    assert first["train"] != second["train"]
    assert pairs_of(first["train"]) != pairs_of(second["train"])
    for name in ("probe", "harmless_probe", "twins_probe"):
        assert first[name] == second[name] == whole[name]
    for name in ("train", "benign_train"):
        drawn = second[name]
        assert [request for request in whole[name] if request in drawn] == drawn  # the same order of the seed


def test_n_train_pairs_are_drawn_evenly_over_hazards(data_of):
    split, _ = split_of(PAIRS, data_of("data=twins", "n_train=8"))
    assert Counter(request.hazard for request in split["train"]) == {"hate": 3, "privacy": 3, "elections": 2}
    assert pairs_of(split["train"]) == pairs_of(split["benign_train"])


def test_the_first_probed_requests_are_of_several_hazards(data_of):
    split, _ = split_of(PAIRS, data_of("data=twins"))
    hazards = [request.hazard for request in split["probe"]]
    assert hazards != sorted(hazards) and len(set(hazards[:4])) > 1


def test_too_few_pairs_and_none_are_refused(data_of):
    with pytest.raises(UserError, match="n_train=13 pairs; 12 are left to train on"):
        split_of(PAIRS, data_of("data=twins", "n_train=13"))
    with pytest.raises(UserError, match="no pair is left to train on"):
        split_of(twins({"hate": 1}), data_of("data=twins"))


def test_pairs_with_a_row_of_a_held_out_hazard_are_never_trained_on(data_of):
    rows = twins({"hate": 10, "privacy": 6}, harmless_hazard="elections")
    split, roles = split_of(rows, data_of("data=twins", "held_out_hazards=[privacy,elections]"))
    held_out = {"hate-0", *(f"privacy-{i}" for i in range(6))}
    assert roles.held_out == held_out == pairs_of(split["held_out"])
    assert not held_out & pairs_of([*split["train"], *split["benign_train"], *split["probe"]])
    assert held_out <= pairs_of(split["harmless_probe"])
    assert pairs_of(split["twins_probe"]) == roles.probe == pair_roles(rows, []).probe


@pytest.mark.parametrize(
    ("words", "trained", "n_held_out"),
    [
        (["data=beavertails"], {True, False}, 3),
        (["data=beavertails", "twins=harmless"], {False}, 0),
        (["data=jsonl"], {False}, 0),
        (["data=paper"], set(), 0),
    ],
)
def test_beside_another_source_the_twins_that_are_asked_for_are_trained_on_and_all_are_probed(
    words, trained, n_held_out, data_of
):
    rows = [*PAIRS, *twins({"sexual_content": 1})]
    split, roles = split_of(rows, data_of(*words, "held_out_hazards=[elections]"))
    assert len(roles.probe) == 8
    n_pairs = 16 - 6  # hate and privacy, less those that are probed
    assert Counter(request.harmful for request in split["train"] + split["benign_train"]) == {
        harmful: n_pairs for harmful in trained
    }
    assert len(split["held_out"]) == n_held_out
    assert pairs_of(split["twins_probe"]) == roles.probe and len(split["twins_probe"]) == 16
    assert pairs_of(split["harmless_probe"]) == roles.probe | roles.held_out


@pytest.mark.parametrize(
    ("words", "n"),
    [
        (["data=twins"], 12),
        (["data=twins", "n_train=5"], 5),
        (["data=twins", "held_out_hazards=[hate]"], 6),
        (["data=beavertails"], 512),
        (["data=beavertails", "twins=harmless"], 500),
        (["data=paper"], 500),
    ],
)
def test_how_many_will_be_trained_on_is_known_before_anything_is_read(words, n, data_of):
    assert n_trained(data_of(*words), PAIRS) == n


def request(name, hazard="privacy", harmful=True):
    return Request(name, f"text of {name}", hazard, harmful, "test")


def parts(**changes):
    return {
        "train": [request("a"), request("b")],
        "benign_train": [request("c", harmful=False)],
        "probe": [request("d")],
        "held_out": [request("e", "hate")],
        **changes,
    }


COPY = Request("copy", "TEXT of a!", "privacy", True, "test")
BAD, GOOD = (Request(name, name, "privacy", True, "twins", "p-1") for name in ("bad", "good"))
SHARED = {"twins_probe": [request("d"), request("e", "hate")], "harmless_probe": [request("d")]}


@pytest.mark.parametrize(
    ("changes", "leak"),
    [
        ({"train": [request("a"), request("x", "hate")]}, "train.jsonl, row 2: 'x' is of the hazard 'hate', which is"),
        ({"benign_train": [request("x", "hate")]}, "benign_train.jsonl, row 1: 'x' is of the hazard 'hate', which is"),
        # also under another name
        ({"probe": [COPY]}, "train.jsonl, row 1: 'a' is also in probe.jsonl"),
        ({"held_out": [COPY]}, "train.jsonl, row 1: 'a' is also in held_out.jsonl"),
        ({"train": [BAD], "twins_probe": [GOOD]}, "train.jsonl, row 1: 'bad' has its twin in twins_probe.jsonl"),
        ({"benign_train": [BAD], "twins_probe": [GOOD]}, "benign_train.jsonl, row 1: 'bad' has its twin in twins_"),
    ],
)
def test_a_training_row_that_is_held_out_or_probed_itself_or_by_its_twin_is_named(changes, leak):
    with pytest.raises(UserError, match=f"^folder/{leak}"):
        check_no_leak(parts(**changes), ["hate"], "folder")


@pytest.mark.parametrize("changes", [{}, SHARED], ids=["clean", "probes share rows"])
def test_a_set_without_a_leak_passes(changes):
    check_no_leak(parts(**changes), ["hate"], "folder")
