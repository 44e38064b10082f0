"""The shipped pack: the paper's 12 hazards in its order, with cases short enough for a small model's chat turns."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from cada_trl.hazards import Case, Hazard, load_pack
from cada_trl.hazards.pack import BUILTIN_DIR
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict

PACK = load_pack("builtin")
HAZARDS = list(PACK.hazards.values())
CASES = [(hazard, case) for hazard in HAZARDS for case in hazard.cases]
each_hazard = pytest.mark.parametrize("hazard", HAZARDS, ids=lambda hazard: hazard.id)

IDS_AND_NAMES = {
    "violent_crimes": "Violent Crimes",
    "non_violent_crimes": "Non-Violent Crimes",
    "sex_related_crimes": "Sex-Related Crimes",
    "child_sexual_exploitation": "Child Sexual Exploitation",
    "weapons_of_mass_destruction": "Weapons of Mass Destruction (CBRNE)",
    "suicide_self_harm": "Suicide & Self-Harm",
    "hate": "Hate",
    "privacy": "Privacy",
    "intellectual_property": "Intellectual Property",
    "disinformation_defamation": "Disinformation & Defamation",
    "elections": "Elections",
    "sexual_content": "Sexual Content",
}
REFUSAL = re.compile(r"(I'm sorry, but |I'm sorry, )?I can't help with ", re.IGNORECASE)


def words(text: str) -> int:
    return len(text.split())


def refused(hazard: Hazard) -> list[Case]:
    return [case for case in hazard.cases if case.verdict == "refuse"]


def test_the_pack_holds_the_papers_twelve_hazards_in_its_order() -> None:
    assert [(hazard.id, hazard.name) for hazard in HAZARDS] == list(IDS_AND_NAMES.items())
    assert [hazard.number for hazard in HAZARDS] == list(range(1, 13))


def test_a_file_is_named_by_the_number_and_id_it_holds() -> None:
    files = {file.stem for file in BUILTIN_DIR.glob("*.yaml")} - {"pack"}
    assert files == {f"{hazard.number:02d}_{hazard.id}" for hazard in HAZARDS}


def test_the_shared_tiers_hold_sentences() -> None:
    for sentences in (PACK.objectives, PACK.defaults, PACK.style):
        assert 2 <= len(sentences) <= 4
        assert all(sentence.endswith(".") for sentence in sentences)


@each_hazard
def test_a_minimal_code_is_one_or_two_sentences(hazard: Hazard) -> None:
    assert 1 <= len(re.findall(r"\.(?: |$)", hazard.code)) <= 2


@each_hazard
def test_an_extensive_code_has_four_tiers_of_sentences(hazard: Hazard) -> None:
    tiers = hazard.extensive
    assert 2 <= len(tiers.objectives) <= 3
    assert 5 <= len(tiers.rules) <= 8
    assert 2 <= len(tiers.defaults) <= 3
    assert 2 <= len(tiers.style) <= 3
    assert all(s.endswith(".") for s in (*tiers.objectives, *tiers.rules, *tiers.defaults, *tiers.style))


@each_hazard
def test_a_hazard_shows_a_refusal_an_answered_look_alike_and_a_refusal(hazard: Hazard) -> None:
    assert [case.verdict for case in hazard.cases] == ["refuse", "answer", "refuse"]


@each_hazard
def test_cases_fit_into_a_small_models_chat_turns(hazard: Hazard) -> None:
    for case in hazard.cases:
        assert words(case.request) <= 25
        assert 20 <= words(case.analysis) <= 40
        assert words(case.response) <= (20 if case.verdict == "refuse" else 40)


@each_hazard
def test_a_refusal_is_one_sentence_that_opens_unmistakably(hazard: Hazard) -> None:
    for case in refused(hazard):
        assert REFUSAL.match(case.response), case.response
        assert re.findall(r"[.!?](?: |$)", case.response) == ["."]


@each_hazard
def test_an_answer_never_opens_like_a_refusal(hazard: Hazard) -> None:
    answered = [case for case in hazard.cases if case.verdict == "answer"]
    assert not any(REFUSAL.match(case.response) for case in answered)


@each_hazard
def test_an_analysis_ends_in_the_decision_its_verdict_states(hazard: Hazard) -> None:
    refusing = re.compile(
        r"refuse|decline|turned down|answer is no|private|no help|not assist|won't write|will not point"
    )
    for case in hazard.cases:
        last_clause = re.split(r"[,.] ", case.analysis)[-1]
        assert bool(refusing.search(last_clause)) == (case.verdict == "refuse"), last_clause


@each_hazard
def test_a_hazard_names_a_wrong_compliance_or_a_wrong_refusal(hazard: Hazard) -> None:
    wrong = [(case.verdict, case.incorrect) for case in hazard.cases if case.incorrect]
    assert wrong
    for verdict, incorrect in wrong:
        assert incorrect.response.startswith(("I'm sorry", "I can't")) == (verdict == "answer")
        assert incorrect.why.endswith(".")


def test_the_phrase_judge_reads_every_response_as_its_case_means_it() -> None:
    judged = PhraseJudge().judge([(case.request, case.response) for _, case in CASES])
    expected = [Verdict.REFUSED if case.verdict == "refuse" else Verdict.COMPLIED for _, case in CASES]
    assert [row.verdict for row in judged] == expected


def test_self_harm_is_refused_with_a_way_to_help() -> None:
    for case in refused(PACK.hazards["suicide_self_harm"]):
        assert re.search(r"crisis line|doctor|someone you trust", case.response)


def test_no_text_of_a_case_stands_twice() -> None:
    for field in ("request", "analysis", "response"):
        counts = Counter(getattr(case, field) for _, case in CASES)
        assert max(counts.values()) == 1


def test_no_request_is_taken_from_a_public_dataset(shared_data: Path) -> None:
    with (shared_data / "xstest" / "xstest_prompts.csv").open(encoding="utf-8") as file:
        published = {row["prompt"] for row in csv.DictReader(file)}
    for name in ("330k_unsafe_prompts", "30k_test_prompts", "evaluation_prompts"):
        with (shared_data / "beavertails" / f"{name}.jsonl").open(encoding="utf-8") as file:
            published |= {json.loads(line)["prompt"] for line in file}
    bags = [frozenset(re.findall(r"[\w']+", text.lower())) for text in published]
    for _, case in CASES:
        bag = frozenset(re.findall(r"[\w']+", case.request.lower()))
        assert max(len(bag & other) / len(bag | other) for other in bags) < 0.6, case.request
