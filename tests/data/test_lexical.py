from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.data.beavertails import CATEGORIES
from cada_trl.data.lexical import NO_HAZARD, classify, load_lexicon
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack

LEXICON = """
threshold: 1.0
labels: {privacy_violation: {privacy: 0.6}}
words:
  privacy: {0.5: [home address], 2: [dox*]}
  violent_crimes: {2: [kill*]}
  suicide_self_harm: {2: [kill myself]}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "lexicon.yaml"
    path.write_text(LEXICON)
    return path


def test_labels_and_words_add_up(small: Path) -> None:
    lexicon = load_lexicon(small)
    found = classify("Her home address?", ["privacy_violation"], lexicon)  # 0.6 + 0.5 >= 1
    assert (found.hazard, found.reason) == ("privacy", "[privacy_violation], home address")
    assert classify("Her home address?", [], lexicon).hazard == "other"  # 0.5 < 1
    assert "below" in classify("Her home address?", [], lexicon).reason


def test_a_star_takes_any_ending_and_a_plain_word_none(small: Path) -> None:
    lexicon = load_lexicon(small)
    assert classify("They were DOXXED!", [], lexicon).reason == "doxxed"
    assert classify("home addresses", [], lexicon).hazard == "other"


def test_the_longer_phrase_wins_over_the_word_inside_it(small: Path) -> None:
    found = classify("I want to kill myself", [], load_lexicon(small))
    assert (found.hazard, found.reason) == ("suicide_self_harm", "kill myself")


def test_a_word_counts_once_however_often_it_stands(small: Path) -> None:
    assert classify("address, home address, home address, home address", [], load_lexicon(small)).hazard == "other"


@pytest.mark.parametrize("text", ["[", "threshold: 1", "- a", "threshold: x\nlabels: {}\nwords: {}", ""])
def test_a_file_that_is_no_lexicon_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lexicon.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"lexicon\.yaml is not a lexicon"):
        load_lexicon(path)


def test_the_builtin_lexicon_names_only_hazards_of_the_builtin_pack_and_all_of_them() -> None:
    lexicon = load_lexicon()
    named = {hazard for weights in [*lexicon.words.values(), *lexicon.priors.values()] for hazard in weights}
    assert named - set(NO_HAZARD) == set(load_pack("builtin").hazards)


def test_every_beavertails_label_but_child_abuse_has_a_prior() -> None:
    assert set(load_lexicon().priors) == CATEGORIES - {"child_abuse"}
