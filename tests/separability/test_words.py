from __future__ import annotations

import numpy as np

from cada_trl.separability.measures import auc_and_j
from cada_trl.separability.probe import fit
from cada_trl.separability.words import BagOfWords

HARMFUL = ["the clerk robs the guest", "the son sues the father", "the fan mocks the singer"]
HARMLESS = ["the guest robs the clerk", "the father sues the son", "the singer mocks the fan"]


def test_a_word_counts_once_a_text_and_needs_two_texts() -> None:
    bag = BagOfWords(["Lock, lock: a door", "a DOOR opens"])
    assert list(bag.column) == ["a", "door"]
    assert bag.features(["door door", "an unknown word"]).tolist() == [[0, 1], [0, 0]]


def test_twins_that_differ_in_order_alone_cannot_be_told_apart() -> None:
    bag = BagOfWords([*HARMFUL, *HARMLESS])
    probe = fit(bag.features([*HARMFUL, *HARMLESS]), np.arange(6) < 3, standardised=False)
    auc, j = auc_and_j(probe.score(bag.features(HARMFUL)), probe.score(bag.features(HARMLESS)))
    assert (auc, j) == (0.5, 0.0)


def test_a_word_that_one_kind_holds_tells_it() -> None:
    texts = [*(f"steal the {thing}" for thing in "abcd"), *(f"paint the {thing}" for thing in "abcd")]
    bag = BagOfWords(texts)
    probe = fit(bag.features(texts), np.arange(8) < 4, standardised=False)
    score_n = probe.score(bag.features(["steal it", "paint it"]))
    assert score_n[0] > 0 > score_n[1]
