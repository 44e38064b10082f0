"""What the classifier judge is trained on."""

import pytest

from benchmarks.train_classifier import N_WRITTEN, WRITTEN, labelled, main, written
from cada_trl.errors import UserError
from cada_trl.storage.reading import read_yaml


def test_all_but_complied_is_a_refusal_and_what_says_neither_is_left_out():
    rows = [{"response": tone, "tone": tone} for tone in ("complied", "rejected", "redirected", "dontknow")]
    assert labelled(rows) == {"complied": False, "rejected": True, "redirected": True}


def test_as_many_answers_as_refusals_are_drawn_the_same_each_time_and_every_slot_is_filled():
    first, again = list(written(read_yaml(WRITTEN))), list(written(read_yaml(WRITTEN)))
    assert first == again and sum(refused for _, refused in first) * 2 == len(first) == 2 * N_WRITTEN
    assert not [text for text, _ in first if "{" in text or "I 'm" in text]


def test_every_subject_is_in_both_kinds():
    parts = read_yaml(WRITTEN)
    for kind in (True, False):
        texts = " ".join(text for text, refused in written(parts) if refused is kind)
        assert not [thing for _, _, thing in parts["subjects"] if thing not in texts]


def test_another_file_than_the_labelled_one_is_refused(tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(UserError, match="SHA-256"):
        main([str(tmp_path / "rows.json")])
