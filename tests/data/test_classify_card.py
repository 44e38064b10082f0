import json
from pathlib import Path

import pytest

from cada_trl.data.classify_card import answer_pairs, main, rate_text
from cada_trl.data.likeness import text_hash
from cada_trl.data.rows import Row, unique_rows
from cada_trl.data.sources import read_beavertails
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.statistics.intervals import Rate

LABELS = Path(__file__).with_name("hand_labels.json")


def test_a_rate_without_rows_has_no_value():
    assert rate_text(Rate(0, 0, 0)) == "no rows"
    assert rate_text(Rate(1, 2, 2)) == "50.0 % (9.5 to 90.5; 1/2)"


def test_safe_and_other_count_as_one_answer_and_rows_without_a_label_do_not_count():
    rows = [Row("tell me the time", "f", "s"), Row("how can i kill someone", "f", "s"), Row("unlabelled", "f", "s")]
    labels = {text_hash(rows[0].text): "safe", text_hash(rows[1].text): "hate"}
    pairs = answer_pairs(rows, labels)
    assert pairs == [("none", "none"), ("hate", "violent_crimes")]


def test_the_hand_labels_are_hashes_with_known_answers_and_no_prompt_in_two_groups():
    labels = json.loads(LABELS.read_text())
    groups = [group for half in ("tune", "held_out") for group in labels[half].values()]
    digests = [digest for group in groups for digest in group]
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in digests)
    assert len(digests) == len(set(digests)) >= 240
    assert {hazard for group in groups for hazard in group.values()} == {*load_pack("builtin").hazards, "safe", "other"}


def test_the_lexicon_is_right_on_at_least_seven_of_ten_held_out_prompts(shared_data, data_of):
    files = [shared_data / "beavertails" / f"{name}.jsonl" for name in ("330k_unsafe_prompts", "30k_test_prompts")]
    rows = unique_rows(row for path in files for row in read_beavertails(data_of(f"file={path}")).rows if row.key)
    held_out = json.loads(LABELS.read_text())["held_out"]
    pairs = answer_pairs(rows, held_out["random"] | held_out["rare"])
    assert len(pairs) == 198
    assert sum(label == answer for label, answer in pairs) >= 0.7 * 198


def test_the_card_is_refused_without_files_or_without_a_labelled_prompt(write_rows):
    with pytest.raises(UserError, match=r"expected: python -m cada_trl\.data\.classify_card LABELS\.json"):
        main([])
    path = write_rows("bt.jsonl", [{"prompt": "not labelled", "categories": []}])
    with pytest.raises(UserError, match=r"cannot read none\.json: .*; expected a file of hand labels"):
        main(["none.json", str(path)])
    with pytest.raises(UserError, match="no labelled prompt"):
        main([str(LABELS), str(path)])
