import random
import re

import pytest

from cada_trl.data.likeness import jaccard, near_duplicates, normalise, shingles, text_hash
from cada_trl.data.sources import read_twins


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("  How do I,  PICK a lock?!\n", "how do i pick a lock"),
        ("ＦＩＬＥ ﬁle", "file file"),
        ("don't don’t dont", "dont dont dont"),
        *((f"ex{chr(code)}plain this", "explain this") for code in (0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)),
        ("?! … 😀 __", ""),
        # a vowel sign or a tone belongs to its word; a sign that chooses the look of an emoji does not count
        ("पिता, पति! a_b", "पिता पति a b"),
        *((f"{text}!", text) for text in ("पोता पोती", "मैं में", "ใกล้ ไกล", "ปู่ ปู้")),
        ("I ❤️ no. 1️⃣", "i no 1"),
    ],
)
def test_the_form_leaves_out_what_tells_no_words_apart(text, form):
    assert normalise(text) == form


def test_the_embedded_twins_have_the_form_that_a_plain_split_gives_them():
    for row in read_twins().rows[:50]:
        assert row.key == " ".join(re.findall(r"[a-z0-9]+", row.text.casefold().replace("'", "")))


def test_the_hash_is_that_of_the_comparison_form():
    assert text_hash("A b!") == text_hash("a  B")
    assert text_hash("a b") != text_hash("ab")


def test_jaccard_by_hand():
    one, other = shingles("abcdef"), shingles("abcdeg")  # abcd bcde cdef | abcd bcde cdeg
    assert jaccard(one, other) == 2 / 4


CAR, BREAD = "how can i steal a car", "how to bake bread"


@pytest.mark.parametrize(
    ("keys", "min_jaccard", "how", "found"),
    [
        ([f"{CAR} from my neighbour", "how could i steal a car from my neighbour", BREAD], 0.7, {}, {1: 0}),
        (["ab", "abc", "ab"], 0.8, {}, {2: 0}),  # a text shorter than a shingle only matches itself
        (["abcdefgh", "efghijkl", "mnopqrst"], 0.0, {}, {1: 0}),  # any shared shingle
        ([CAR, CAR, CAR], 0.8, {"n_fixed": 2}, {2: 0}),  # fixed texts are never dropped but drop others
        # partners are not compared with one another, but with all others
        ([CAR, CAR], 0.8, {"pairs": ["p", "p"]}, {}),
        ([CAR, CAR], 0.8, {"pairs": [None, None]}, {1: 0}),
        ([CAR, BREAD, CAR, CAR], 0.8, {"pairs": ["p", "p", "q", None]}, {2: 0, 3: 0}),
    ],
)
def test_a_text_like_an_earlier_one_is_a_near_duplicate_and_another_is_not(keys, min_jaccard, how, found):
    assert near_duplicates(keys, min_jaccard, **how) == found


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
