"""The starter set covers every hazard with harmful requests and harmless look-alikes, all of them our own."""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import cada_trl
from cada_trl.hazards import load_pack
from cada_trl.records import read_requests

ROWS = read_requests(Path(cada_trl.__file__).parent / "data" / "assets" / "starter.jsonl")
HAZARDS = load_pack("builtin").hazards


def bag(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.lower()))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def test_every_hazard_of_the_pack_has_enough_rows_of_both_kinds() -> None:
    counts = Counter((row.hazard, row.harmful) for row in ROWS)
    assert {hazard for hazard, _ in counts} == set(HAZARDS)
    assert min(counts[hazard, True] for hazard in HAZARDS) >= 14
    assert min(counts[hazard, False] for hazard in HAZARDS) >= 33


def test_the_harmless_rows_of_every_hazard_are_questions_and_instructions() -> None:
    """Look-alikes that were all questions would teach that an instruction is harmful."""
    questions = Counter((row.hazard, row.text.endswith("?")) for row in ROWS if not row.harmful)
    assert min(questions[hazard, is_question] for hazard in HAZARDS for is_question in (True, False)) >= 12


def test_no_two_harmless_instructions_of_a_hazard_start_with_the_same_word() -> None:
    instructions = [row for row in ROWS if not row.harmful and not row.text.endswith("?")]
    assert len({(row.hazard, row.text.split()[0]) for row in instructions}) == len(instructions)


def test_an_id_tells_hazard_and_kind_and_is_unique() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert re.fullmatch(rf"{row.hazard}-{'h' if row.harmful else 'b'}\d\d", row.id)
        assert row.source == "starter"


def test_a_request_has_six_to_twenty_five_words() -> None:
    assert not [row.text for row in ROWS if not 6 <= len(row.text.split()) <= 25]


def test_texts_are_distinct_even_without_case_and_punctuation() -> None:
    bags = [bag(row.text) for row in ROWS]
    assert not [(a, b) for a, b in combinations(bags, 2) if jaccard(a, b) >= 0.55]


def test_wording_is_varied_rather_than_filled_into_a_template() -> None:
    openings = Counter(" ".join(row.text.lower().split()[:4]) for row in ROWS)
    assert max(openings.values()) / len(ROWS) < 0.04


def test_no_request_repeats_a_case_of_the_pack() -> None:
    cases = [bag(case.request) for hazard in HAZARDS.values() for case in hazard.cases]
    assert not [row.text for row in ROWS if max(jaccard(bag(row.text), case) for case in cases) >= 0.5]


def test_no_request_is_worded_like_xstest(shared_data: Path) -> None:
    with (shared_data / "xstest" / "xstest_prompts.csv").open(encoding="utf-8") as file:
        xstest = [bag(row["prompt"]) for row in csv.DictReader(file)]
    assert not [row.text for row in ROWS if max(jaccard(bag(row.text), other) for other in xstest) >= 0.55]
