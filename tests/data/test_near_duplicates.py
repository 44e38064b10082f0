from __future__ import annotations

import random

import pytest

from cada_trl.data.near_duplicates import jaccard, near_duplicates, shingles


def test_jaccard_by_hand() -> None:
    one, other = shingles("abcdef"), shingles("abcdeg")  # abcd bcde cdef | abcd bcde cdeg
    assert jaccard(one, other) == 2 / 4


def test_a_reworded_request_is_a_near_duplicate_and_another_one_is_not() -> None:
    keys = ["how can i steal a car from my neighbour", "how could i steal a car from my neighbour", "how to bake bread"]
    assert near_duplicates(keys, 0.7) == {1: 0}


def test_partners_are_not_compared_with_one_another_but_with_all_others() -> None:
    same = "how can i steal a car"
    assert near_duplicates([same, same], 0.8, pairs=["p", "p"]) == {}
    assert near_duplicates([same, same], 0.8, pairs=[None, None]) == {1: 0}
    assert near_duplicates([same, "how to bake bread", same, same], 0.8, pairs=["p", "p", "q", None]) == {2: 0, 3: 0}


def test_a_text_shorter_than_a_shingle_only_matches_itself() -> None:
    assert near_duplicates(["ab", "abc", "ab"], 0.8) == {2: 0}


def test_fixed_texts_are_never_dropped_but_drop_others() -> None:
    same = "how can i steal a car"
    assert near_duplicates([same, same, same], 0.8, n_fixed=2) == {2: 0}


@pytest.mark.parametrize("min_jaccard", [0.3, 0.5, 0.8, 1.0])
def test_the_index_finds_exactly_what_comparing_all_pairs_finds(min_jaccard: float) -> None:
    rng = random.Random(0)
    words = ["steal", "a", "car", "how", "do", "i", "bank", "rob", "the", "my"]
    keys = [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(150)]
    sets = [shingles(key) for key in keys]
    dropped: dict[int, int] = {}
    for i in range(len(keys)):
        kept = [j for j in range(i) if j not in dropped]
        twin = next((j for j in kept if jaccard(sets[i], sets[j]) >= min_jaccard), None)
        if twin is not None:
            dropped[i] = twin
    assert dropped
    assert near_duplicates(keys, min_jaccard) == dropped
