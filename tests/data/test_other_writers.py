"""The pairs of other writers: whole, labelled twice alike, and neither trained on nor in another evaluation set."""

import json
from collections import Counter

import pytest

from cada_trl.data.benchmarks import find_overlaps, read_benchmarks
from cada_trl.data.likeness import near_duplicates
from cada_trl.data.own_sets import read_own
from cada_trl.data.sources import read_twins
from cada_trl.hazards.pack import TWINS, load_pack

OTHERS = TWINS.with_name("other_writers.jsonl")
ROWS = read_twins(OTHERS).rows
HAZARDS = load_pack("builtin").hazards


def test_every_pair_is_whole_and_its_two_labels_agree():
    source = read_twins(OTHERS, HAZARDS)
    assert source.dropped == {}
    assert source.origin["agreement"] == {"n": len(ROWS), "agreed": len(ROWS), "kappa": 1.0}
    assert Counter(row.harmful for row in ROWS) == {True: source.origin["n_pairs"], False: source.origin["n_pairs"]}


def test_they_are_two_sets_by_their_path_each_row_with_its_own_hazard():
    sets, line = read_own(str(OTHERS), HAZARDS)
    assert [(spec.name, spec.metric, spec.n) for spec, _ in sets] == [
        ("other_writers_harmful", "asr", len(ROWS) // 2),
        ("other_writers_harmless", "nrr", len(ROWS) // 2),
    ]
    assert "by the classifier" not in line


def test_eight_ways_of_asking_have_as_many_pairs_each():
    ways = Counter(json.loads(line)["pair"].split("-")[0] for line in OTHERS.read_text(encoding="utf-8").splitlines())
    assert len(ways) == 8
    assert max(ways.values()) - min(ways.values()) <= 10


@pytest.mark.slow
def test_none_is_like_a_pair_that_may_be_trained_on():
    twins = read_twins().rows
    alike = near_duplicates([row.key for row in (*twins, *ROWS)], 0.8, len(twins))
    assert [ROWS[i - len(twins)].text for i, j in alike.items() if j < len(twins)] == []


@pytest.mark.slow
def test_none_is_in_another_evaluation_set_or_like_one_of_it(shared_data):
    assert find_overlaps([row.key for row in ROWS], read_benchmarks(shared_data), n_gram=13, min_jaccard=0.6) == {}
