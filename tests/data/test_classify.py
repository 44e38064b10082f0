from collections import Counter

import pytest

from cada_trl.data.classify import (
    HASH_DIGITS,
    NO_HAZARD,
    Classification,
    Review,
    classify,
    classify_reviewed,
    classify_with_llm,
    load_lexicon,
    parse_answer,
    read_review,
)
from cada_trl.data.likeness import text_hash
from cada_trl.data.rows import Row
from cada_trl.data.sources import read_beavertails
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from tests.judging.stub_endpoint import Stub, answer, judge_settings

LEXICON = """
threshold: 1.0
labels: {privacy_violation: {privacy: 0.6}}
words:
  privacy: {0.5: [home address], 2: [dox*]}
  violent_crimes: {2: [kill*]}
  suicide_self_harm: {2: [kill myself]}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "lexicon.yaml"
    path.write_text(LEXICON)
    return path


BELOW = "highest score 0.5 (privacy) is below 1.0"


@pytest.mark.parametrize(
    ("text", "labels", "hazard", "reason"),
    [
        ("Her home address?", ["privacy_violation"], "privacy", "[privacy_violation], home address"),  # 0.6 + 0.5
        ("Her home address?", [], "other", BELOW),
        ("address, home address, home address, home address", [], "other", BELOW),  # a word counts once
        ("They were DOXXED!", [], "privacy", "doxxed"),  # a star takes any ending, a plain word none
        ("home addresses", [], "other", "no label and no word of the lexicon"),
        ("I want to kill myself", [], "suicide_self_harm", "kill myself"),  # the longer phrase, not the word in it
    ],
)
def test_labels_and_the_words_of_the_lexicon_add_up(text, labels, hazard, reason, small):
    assert classify(text, labels, load_lexicon(small)) == Classification(hazard, reason)


def test_the_builtin_lexicon_names_only_hazards_of_the_builtin_pack_and_all_of_them():
    lexicon = load_lexicon()
    named = {hazard for weights in [*lexicon.words.values(), *lexicon.priors.values()] for hazard in weights}
    assert named - set(NO_HAZARD) == set(load_pack("builtin").hazards)


def test_every_beavertails_label_but_child_abuse_has_a_prior():
    assert len(load_lexicon().priors) == 14 - 1


TEXT = "How can I kill someone?"


def review_of(**labels):
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
def test_a_row_has_the_label_that_both_gave_and_a_disagreement_is_unclear(both, hazard):
    found = classify_reviewed(f"  {TEXT.upper()}!", [], review_of(**{TEXT: both}))
    assert found.hazard == hazard
    assert found.reason == "labelled {} and {}".format(*both.split("/"))


def test_a_row_that_was_not_reviewed_is_the_lexicons():
    assert classify_reviewed(TEXT, [], review_of(other="hate/hate")) == classify(TEXT)


def test_the_facts_count_rows_with_a_label_and_labels_without_a_row():
    rows = [Row(text, "f", "s") for text in ("one", "two", "three")]
    facts = review_of(one="hate/hate", three="safe/hate", absent="hate/hate").facts(rows, rows[:2])
    counts = {"rows": 2, "rows_with_a_label": 1, "labels": 3, "labels_without_a_row": 1}
    assert counts.items() <= facts.items()
    assert (facts["agreement"]["n"], facts["agreement"]["agreed"]) == (3, 2)


def test_the_embedded_review_has_known_labels_and_an_agreement_worth_its_use():
    review = read_review()
    assert {label for both in review.labels.values() for label in both} == {
        *load_pack("builtin").hazards,
        *("safe", "unclear"),
    }
    assert review.agreement == {"n": 2420, "agreed": 2202, "kappa": pytest.approx(0.8915, abs=5e-5)}


@pytest.mark.slow
def test_every_label_meets_a_row_of_the_published_prompts(shared_data, data_of):
    rows = read_beavertails(data_of(f"file={shared_data / 'beavertails' / '330k_unsafe_prompts.jsonl'}")).rows
    review = read_review()
    assert review.facts(rows, rows)["labels_without_a_row"] == 0
    distinct = {row.key: row for row in rows}.values()
    labels = Counter(classify_reviewed(row.text, row.labels, review).hazard for row in distinct)
    assert (labels["reviewed_safe"], labels["reviewed_unclear"]) == (515, 638)


PACK = load_pack("builtin")


@pytest.fixture
def stub():
    stub = Stub()
    yield stub
    stub.close()


def text_of(body):
    return body["messages"][-1]["content"].removeprefix("<request>\n").partition("\n</request>")[0]


@pytest.fixture
def llm(stub, tmp_path):
    """(texts, changed keys of the judge) -> hazards; the model answers `a` with hate and all else with privacy."""

    def classified(texts, **changed):
        values = {"kind": "rubric", "base_url": stub.url, "llm": "m", "max_retries": 0}
        judge = judge_settings(**(values | changed))
        return [made.hazard for made in classify_with_llm(texts, PACK, judge, tmp_path)]

    stub.by_body = lambda body: answer("hate" if text_of(body) in {"a", "A!"} else "privacy")
    return classified


@pytest.mark.parametrize(
    ("said", "hazard"),
    [
        ("hate", "hate"),
        (" `Hate`.\n", "hate"),
        ("safe", "safe"),
        ("other", "other"),
        ("hate or privacy", "unclassified"),
        ("hate speech", "unclassified"),
        ("", "unclassified"),
    ],
)
def test_only_an_id_alone_is_an_answer(said, hazard):
    assert parse_answer(said, PACK).hazard == hazard


def test_each_text_gets_its_answer_in_order(stub, llm):
    assert llm(["b", "a", "c", "A!"]) == ["privacy", "hate", "privacy", "hate"]
    assert len(stub.bodies) == 3  # two spellings of one text are one question
    assert {body["temperature"] for body in stub.bodies} == {0.0}
    assert all(f"{hazard}: " in stub.bodies[0]["messages"][0]["content"] for hazard in [*PACK.hazards, "safe", "other"])


def test_a_second_call_asks_only_for_what_is_missing(stub, llm):
    llm(["a"])
    assert llm(["b", "a", "A!"]) == ["privacy", "hate", "hate"]
    assert [*map(text_of, stub.bodies)] == ["a", "b"]


@pytest.mark.parametrize(("status", "seen"), [(401, "HTTP 401, the key is refused"), (500, "HTTP 500, the endpoint")])
def test_a_failing_endpoint_is_one_line_and_keeps_what_was_answered(status, seen, stub, llm):
    llm(["a"])
    stub.by_body = lambda body: (status, {})
    with pytest.raises(UserError, match=rf"classifier m at .*{seen}.*; .*what was answered is kept"):
        llm(["a", "b"])
    assert llm(["a"]) == ["hate"]


def test_more_texts_than_max_calls_are_refused_before_the_first_call(stub, llm):
    with pytest.raises(UserError, match="2 texts to classify exceed max_calls=1"):
        llm(["a", "b"], max_calls=1)
    assert stub.bodies == []


def test_a_missing_key_and_a_judge_without_an_endpoint_are_refused(llm, monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable A_KEY is not set"):
        llm(["a"], api_key_env="A_KEY")
    with pytest.raises(UserError, match="classifier=llm needs base_url and llm"):
        llm(["a"], base_url=None)
