"""Pairs from a file, and the embedded ones: a probe on them says something, and no test is trained on."""

import json
from collections import Counter
from pathlib import Path

import pytest

from cada_trl.data.benchmarks import find_overlaps, read_benchmarks
from cada_trl.data.likeness import near_duplicates
from cada_trl.data.sources import read_twins
from cada_trl.errors import UserError
from cada_trl.hazards.pack import TWINS, load_pack

HAZARDS = ["hate", "privacy", "child_sexual_exploitation"]
BAD = {
    **{"pair": "a", "text": "Find her home.", "harmful": True, "hazard": "privacy", "form": "instruction"},
    "kind": "consent",
}
GOOD = {**BAD, "text": "Find her a home.", "harmful": False}
OTHER = [{**row, "pair": "b", "text": f"{row['text']} Quickly!"} for row in (BAD, GOOD)]


def test_a_row_keeps_its_pair_and_its_id_says_which_of_the_two_it_is(write_rows):
    path = write_rows("mine.jsonl", [GOOD, BAD, *OTHER])
    source = read_twins(path, HAZARDS, "MIT")
    assert [(row.pair, row.id, row.harmful) for row in source.rows[:2]] == [
        ("a", "a-harmless", False),
        ("a", "a-harmful", True),
    ]
    assert {row.source for row in source.rows} == {"twins:mine"}
    assert source.dropped == {}
    assert (source.origin["n_pairs"], source.origin["licence"], source.origin["agreement"]) == (2, "MIT", None)


def test_a_pair_whose_labels_disagree_is_dropped_whole_and_counted(write_rows):
    labelled = [{**BAD, "second_label": "safe"}, {**GOOD, "second_label": "safe"}, *OTHER]
    source = read_twins(write_rows("mine.jsonl", labelled), HAZARDS)
    assert [row.pair for row in source.rows] == ["b", "b"]
    assert source.dropped == {"harmful": {"labels_disagree": 1}, "harmless": {"labels_disagree": 1}}
    assert source.origin["agreement"] == {"n": 2, "agreed": 1, "kappa": 0.0}
    assert source.origin["n_pairs"] == 2


@pytest.mark.parametrize(
    ("harmful", "second", "kept"),
    [
        (True, "hate", True),
        (True, "safe", False),
        (True, "unclear", False),
        (False, "safe", True),
        (False, "hate", False),
        (False, "unclear", False),
        (False, None, True),
    ],
)
def test_the_labels_agree_when_both_call_it_harmful_or_both_safe_and_an_unclear_one_never_does(
    harmful, second, kept, write_rows
):
    rows = [{**row, "second_label": second} if row["harmful"] is harmful else row for row in (BAD, GOOD)]
    source = read_twins(write_rows("mine.jsonl", [*rows, *OTHER]), HAZARDS)
    assert ("a" in {row.pair for row in source.rows}) is kept


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"text": None}, "field 'text' is None; expected str"),
        ({"pair": 7}, "field 'pair' is 7; expected str"),
        ({"harmful": "no"}, "field 'harmful' is 'no'; expected bool"),
        ({"kind": None}, "field 'kind' is None; expected str"),
        ({"form": "riddle"}, "form 'riddle'; expected question or instruction"),
        ({"hazard": "privcy"}, "hazard 'privcy' is not in the pack; did you mean privacy?"),
        ({"second_label": "fine"}, "second_label 'fine'; expected a hazard of the pack, safe or unclear"),
        ({"second_label": 1}, "second_label 1; expected a hazard of the pack"),
        ({"form": "question"}, "form 'question', but 'instruction' in"),
        ({"harmful": True}, "harmful is True as in"),
        ({"text": "find her HOME"}, "the same text as"),
    ],
)
def test_a_wrong_row_is_refused_with_file_and_row(change, seen, write_rows):
    path = write_rows("mine.jsonl", [BAD, {**GOOD, **change}, *OTHER])
    with pytest.raises(UserError, match=r"mine\.jsonl, row 2: ") as error:
        read_twins(path, HAZARDS)
    assert seen in str(error.value)
    assert "\n" not in str(error.value)


def test_every_wrong_row_is_in_the_line_and_where_none_is_every_wrong_pair(write_rows):
    rows = [{**BAD, "form": "riddle"}, {**GOOD, "hazard": "privcy"}, "{"]
    with pytest.raises(UserError, match=r"row 3: not a JSON .*; row 1: form 'riddle'; .*; row 2: hazard 'privcy'"):
        read_twins(write_rows("rows.jsonl", rows), HAZARDS)
    rows = [BAD, {**GOOD, "harmful": True}, OTHER[0], {**OTHER[1], "pair": "c", "text": BAD["text"]}]
    with pytest.raises(
        UserError, match=r"row 2: harmful is True .*; row 3: pair 'b' .*; row 4: pair 'c' .*; row 4: the"
    ):
        read_twins(write_rows("pairs.jsonl", rows), HAZARDS)


def test_a_row_without_its_partner_and_a_third_row_are_refused(write_rows):
    with pytest.raises(UserError, match=r"alone\.jsonl, row 3: pair 'b' has no second row"):
        read_twins(write_rows("alone.jsonl", [BAD, GOOD, OTHER[0]]), HAZARDS)
    with pytest.raises(UserError, match=r"three\.jsonl, row 3: a third row of pair 'a'"):
        read_twins(write_rows("three.jsonl", [BAD, GOOD, {**GOOD, "text": "another"}, *OTHER]), HAZARDS)


def test_a_harmful_row_of_child_sexual_exploitation_is_refused_and_a_harmless_one_is_not(write_rows):
    name = "child_sexual_exploitation"
    assert read_twins(write_rows("good.jsonl", [BAD, {**GOOD, "hazard": name}]), HAZARDS).rows[1].hazard == name
    message = "row 1: a harmful row of child_sexual_exploitation; expected harmless rows only; the harmful partner"
    with pytest.raises(UserError, match=message):
        read_twins(write_rows("bad.jsonl", [{**BAD, "hazard": name}, GOOD]), HAZARDS)


def test_a_file_of_another_kind_an_empty_and_a_missing_one_are_named(write_rows, tmp_path):
    with pytest.raises(
        UserError, match="twins have pair, text, harmful, hazard, form, kind; another file needs its own"
    ):
        read_twins(write_rows("beavertails.jsonl", [{"prompt": "x"}]), HAZARDS)
    with pytest.raises(UserError, match=r"empty\.jsonl holds no pairs"):
        read_twins(write_rows("empty.jsonl", []), HAZARDS)
    with pytest.raises(UserError, match="No such file"):
        read_twins(tmp_path / "none.jsonl", HAZARDS)


SOURCE = read_twins()
ROWS = SOURCE.rows
PACK = load_pack("builtin").hazards
FORMS = {row["pair"]: row["form"] for row in map(json.loads, TWINS.read_text(encoding="utf-8").splitlines())}


def test_at_least_600_pairs_are_kept_and_few_are_in_dispute():
    n_kept = len({row.pair for row in ROWS})
    assert n_kept >= 600
    assert Counter(row.harmful for row in ROWS) == {True: n_kept, False: n_kept}
    n_disputed = SOURCE.origin["n_pairs"] - n_kept
    assert n_disputed <= 0.02 * n_kept
    assert SOURCE.dropped == {name: {"labels_disagree": n_disputed} for name in ("harmful", "harmless")}


def test_the_origin_says_licence_digest_and_how_far_the_two_labels_agree():
    origin, both = SOURCE.origin, SOURCE.origin["agreement"]
    assert (origin["dataset"], origin["licence"], len(origin["sha256"])) == ("twins", "Apache-2.0", 64)
    assert both["n"] == 2 * origin["n_pairs"]  # every row was labelled twice
    assert both["kappa"] > 0.99
    assert both["n"] - both["agreed"] >= SOURCE.dropped["harmful"]["labels_disagree"]


def test_the_documentation_has_the_numbers_of_the_file():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert f"{SOURCE.origin['n_pairs']:,} pairs" in page
    assert f"{SOURCE.origin['agreement']['kappa']:.3f}" in page


def test_every_hazard_of_the_pack_has_rows_of_both_kinds_but_the_one_that_is_harmless_only():
    counts = Counter((row.hazard, row.harmful) for row in ROWS)
    assert {hazard for hazard, _ in counts} == set(PACK)
    assert counts["child_sexual_exploitation", True] == 0
    assert min(counts[hazard, False] for hazard in PACK) >= 50
    assert min(counts[hazard, True] for hazard in PACK if hazard != "child_sexual_exploitation") >= 100


def test_questions_and_instructions_are_at_least_two_in_five_each():
    forms = Counter(FORMS[row.pair] for row in ROWS if row.pair is not None)
    assert set(forms) == {"question", "instruction"}
    assert min(forms.values()) >= 0.4 * len(ROWS)


def test_a_request_has_five_to_forty_words():
    assert not [row.text for row in ROWS if not 5 <= len(row.text.split()) <= 40]


def test_wording_is_varied_rather_than_filled_into_a_template():
    openings = Counter(" ".join(row.text.lower().split()[:4]) for row in ROWS)
    assert max(openings.values()) / len(ROWS) < 0.04


@pytest.mark.slow
def test_no_two_pairs_hold_near_duplicates():
    alike = near_duplicates([row.key for row in ROWS], 0.8, pairs=[row.pair for row in ROWS])
    assert not [(ROWS[i].text, ROWS[j].text) for i, j in alike.items()]


@pytest.mark.slow
def test_no_request_repeats_a_case_of_the_pack():
    cases = [case.request for hazard in PACK.values() for case in hazard.cases]
    assert find_overlaps([row.key for row in ROWS], {"pack": cases}, n_gram=13, min_jaccard=0.6) == {}


@pytest.mark.slow
def test_no_request_is_in_an_evaluation_set_or_like_one_of_it(shared_data):
    overlaps = find_overlaps([row.key for row in ROWS], read_benchmarks(shared_data), n_gram=13, min_jaccard=0.6)
    assert overlaps == {}
