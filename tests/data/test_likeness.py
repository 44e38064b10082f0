import random
import re

import pytest

from cada_trl.data.likeness import jaccard, near_duplicates, normalise, shingles, text_hash
from cada_trl.data.sources import read_twins


def test_case_punctuation_and_white_space_do_not_count():
    assert normalise("  How do I,  PICK a lock?!\n") == "how do i pick a lock"


def test_full_width_letters_and_ligatures_are_the_plain_ones():
    assert normalise("ＦＩＬＥ ﬁle") == "file file"


def test_both_apostrophes_join_a_contraction():
    assert normalise("don't") == normalise("don’t") == normalise("dont")


@pytest.mark.parametrize("code", [0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
def test_what_cannot_be_seen_inside_a_word_does_not_count(code):
    assert normalise(f"ex{chr(code)}plain this") == "explain this"


def test_a_text_without_letter_or_digit_is_empty():
    assert normalise("?! … 😀 __") == ""


@pytest.mark.parametrize(("one", "other"), [("पिता", "पति"), ("पोता", "पोती"), ("मैं", "में"), ("ใกล้", "ไกล"), ("ปู่", "ปู้")])
def test_words_that_differ_in_a_vowel_sign_or_a_tone_are_two(one, other):
    assert normalise(f"{one} {other}!") == f"{one} {other}" and one != other


def test_a_sign_that_chooses_the_look_of_an_emoji_does_not_count():
    assert normalise("I ❤️ no. 1️⃣") == normalise("I ❤ no. 1")


def test_the_embedded_twins_have_the_form_that_a_plain_split_gives_them():
    for row in read_twins().rows[:50]:
        assert row.key == " ".join(re.findall(r"[a-z0-9]+", row.text.casefold().replace("'", "")))


def test_the_hash_is_that_of_the_comparison_form():
    assert text_hash("A b!") == text_hash("a  B")
    assert text_hash("a b") != text_hash("ab")


def test_jaccard_by_hand():
    one, other = shingles("abcdef"), shingles("abcdeg")  # abcd bcde cdef | abcd bcde cdeg
    assert jaccard(one, other) == 2 / 4


def test_a_reworded_request_is_a_near_duplicate_and_another_one_is_not():
    keys = ["how can i steal a car from my neighbour", "how could i steal a car from my neighbour", "how to bake bread"]
    assert near_duplicates(keys, 0.7) == {1: 0}


def test_partners_are_not_compared_with_one_another_but_with_all_others():
    same = "how can i steal a car"
    assert near_duplicates([same, same], 0.8, pairs=["p", "p"]) == {}
    assert near_duplicates([same, same], 0.8, pairs=[None, None]) == {1: 0}
    assert near_duplicates([same, "how to bake bread", same, same], 0.8, pairs=["p", "p", "q", None]) == {2: 0, 3: 0}


def test_a_text_shorter_than_a_shingle_only_matches_itself():
    assert near_duplicates(["ab", "abc", "ab"], 0.8) == {2: 0}


def test_fixed_texts_are_never_dropped_but_drop_others():
    same = "how can i steal a car"
    assert near_duplicates([same, same, same], 0.8, n_fixed=2) == {2: 0}


@pytest.mark.parametrize("min_jaccard", [0.3, 0.5, 0.8, 1.0])
def test_the_index_finds_exactly_what_comparing_all_pairs_finds(min_jaccard):
    rng = random.Random(0)
    words = ["steal", "a", "car", "how", "do", "i", "bank", "rob", "the", "my"]
    keys = [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(150)]
    sets = [shingles(key) for key in keys]
    dropped = {}
    for i in range(len(keys)):
        kept = [j for j in range(i) if j not in dropped]
        twin = next((j for j in kept if jaccard(sets[i], sets[j]) >= min_jaccard), None)
        if twin is not None:
            dropped[i] = twin
    assert dropped
    assert near_duplicates(keys, min_jaccard) == dropped


def texts_alike_by(n_shared, n_each):
    """Two texts of n_each shingles, n_shared of them the same: a Jaccard of n_shared / (2 n_each - n_shared)."""
    letters = [chr(ord("\u4e00") + i) for i in range(2 * n_each + 10)]  # no letter twice, so no shingle twice
    common, rest = letters[: n_shared + 3], letters[n_shared + 3 :]
    n_more = n_each - n_shared
    return "".join(common + rest[:n_more]), "".join(common + rest[n_more : 2 * n_more])


@pytest.mark.parametrize(("n_shared", "n_each"), [(4, 5), (11, 15), (7, 10), (80, 90), (55, 60), (28, 40)])
def test_a_likeness_of_exactly_the_threshold_is_enough_and_less_is_not(n_shared, n_each):
    texts, threshold = texts_alike_by(n_shared, n_each), n_shared / (2 * n_each - n_shared)
    assert jaccard(*map(shingles, texts)) == threshold
    assert near_duplicates(texts, threshold) == {1: 0}
    assert near_duplicates(texts, threshold + 1e-6) == {}


def test_rounding_in_the_threshold_hides_no_duplicate():
    # 0.55 * 100 is a little above 55 in floating point: rounded up, the index would look at one shingle too few
    assert 0.55 * 100 > 55
    first = "".join(chr(ord("\u4e00") + i) for i in range(103))  # 100 shingles
    for texts in ([first, first[45:]], [first[45:], first]):  # all, and the 55 last ones
        assert near_duplicates(texts, 0.55) == {1: 0}


def test_a_threshold_of_zero_takes_any_shared_shingle():
    assert near_duplicates(["abcdefgh", "efghijkl", "mnopqrst"], 0.0) == {1: 0}
