from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cada_trl.data.beavertails import read_beavertails
from cada_trl.data.lexical import classify, load_lexicon
from cada_trl.data.normalise import text_hash
from cada_trl.data.reviewed import HASH_DIGITS, Review, classify_reviewed, read_review, review_facts
from cada_trl.data.rows import Row
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack

from .conftest import DataOf

TEXT = "How can I kill someone?"


def review_of(**labels: str) -> Review:
    """Text -> `first/second`."""
    pairs = {text_hash(text)[:HASH_DIGITS]: tuple(both.split("/")) for text, both in labels.items()}
    return Review({digest: (first, second) for digest, (first, second) in pairs.items()})


@pytest.mark.parametrize(
    ("both", "hazard"),
    [
        ("hate/hate", "hate"),
        ("safe/safe", "reviewed_safe"),
        ("unclear/unclear", "reviewed_unclear"),
        ("hate/privacy", "reviewed_unclear"),
        ("safe/hate", "reviewed_unclear"),
    ],
)
def test_a_row_has_the_label_that_both_gave_and_a_disagreement_is_unclear(both: str, hazard: str) -> None:
    found = classify_reviewed(f"  {TEXT.upper()}!", [], review_of(**{TEXT: both}), load_lexicon())
    assert found.hazard == hazard
    assert found.reason == "labelled {} and {}".format(*both.split("/"))


def test_a_row_that_was_not_reviewed_is_the_lexicons() -> None:
    lexicon = load_lexicon()
    assert classify_reviewed(TEXT, [], review_of(other="hate/hate"), lexicon) == classify(TEXT, [], lexicon)


def test_the_facts_count_rows_with_a_label_and_labels_without_a_row() -> None:
    rows = [Row(text, "f", "s") for text in ("one", "two", "three")]
    facts = review_facts(review_of(one="hate/hate", three="safe/hate", absent="hate/hate"), rows, rows[:2])
    assert {key: facts[key] for key in ("rows", "rows_with_a_label", "labels", "labels_without_a_row")} == {
        **{"rows": 2, "rows_with_a_label": 1, "labels": 3, "labels_without_a_row": 1},
    }
    assert (facts["agreement"]["n"], facts["agreement"]["agreed"]) == (3, 2)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("sha256\tfirst\n", r"columns \['sha256', 'first'\]; expected sha256, first, second"),
        ("", "columns None; expected sha256, first, second"),
        ("sha256\tfirst\tsecond\nabc\thate\thate\n", "row 2: expected 16 hex digits and two labels"),
        (f"sha256\tfirst\tsecond\n{'a' * 16}\thate\n", "row 2: expected 16 hex digits and two labels"),
        (f"sha256\tfirst\tsecond\n{'a' * 16}\thate\thate\n{'a' * 16}\thate\thate\n", "row 3: a{16} stands twice"),
    ],
)
def test_a_file_that_is_no_review_is_refused_with_its_row(text: str, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "review.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"review\.tsv") as error:
        read_review(path)
    assert error.match(seen)


def test_the_embedded_review_has_known_labels_and_an_agreement_worth_its_use() -> None:
    review = read_review()
    assert {label for both in review.labels.values() for label in both} == {
        *load_pack("builtin").hazards,
        *("safe", "unclear"),
    }
    assert review.agreement == {"n": 2420, "agreed": 2202, "kappa": pytest.approx(0.8915, abs=5e-5)}


def test_every_label_meets_a_row_of_the_published_prompts(shared_data: Path, data_of: DataOf) -> None:
    rows = read_beavertails(data_of(f"file={shared_data / 'beavertails' / '330k_unsafe_prompts.jsonl'}")).rows
    review = read_review()
    assert review_facts(review, rows, rows)["labels_without_a_row"] == 0
    labels = Counter(review.label(row.text) for row in {row.key: row for row in rows}.values())
    assert (labels["safe"], labels["unclear"]) == (515, 638)
