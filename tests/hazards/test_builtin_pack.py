"""The shipped pack: the paper's 12 hazards in its order, with cases short enough for a small model's chat turns."""

import csv
import json
import re
from collections import Counter

import pytest

from cada_trl.hazards.pack import BUILTIN_DIR, load_pack
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
# A small model imitates one wording far better than many (ours: measured on SmolLM2-135M).
REFUSAL = "I'm sorry, but I can't help with that"
REFUSALS = {"suicide_self_harm": f"{REFUSAL}; please reach out to someone you trust or a crisis line right now."}


def words(text):
    return len(text.split())


def refused(hazard):
    return [case for case in hazard.cases if case.verdict == "refuse"]


def answered(hazard):
    return [case for case in hazard.cases if case.verdict == "answer"]


def test_the_pack_holds_the_papers_twelve_hazards_in_its_order():
    assert [(hazard.id, hazard.name) for hazard in HAZARDS] == list(IDS_AND_NAMES.items())
    assert [hazard.number for hazard in HAZARDS] == list(range(1, 13))


def test_a_file_is_named_by_the_number_and_id_it_holds():
    files = {file.stem for file in BUILTIN_DIR.glob("*.yaml")} - {"pack"}
    assert files == {f"{hazard.number:02d}_{hazard.id}" for hazard in HAZARDS}


def test_the_shared_tiers_hold_sentences():
    for sentences in (PACK.objectives, PACK.defaults, PACK.style):
        assert 2 <= len(sentences) <= 4
        assert all(sentence.endswith(".") for sentence in sentences)


@each_hazard
def test_a_minimal_code_is_one_or_two_sentences(hazard):
    assert 1 <= len(re.findall(r"\.(?: |$)", hazard.code)) <= 2


@each_hazard
def test_an_extensive_code_has_four_tiers_of_sentences(hazard):
    tiers = hazard.extensive
    assert 2 <= len(tiers.objectives) <= 3
    assert 5 <= len(tiers.rules) <= 8
    assert 2 <= len(tiers.defaults) <= 3
    assert 2 <= len(tiers.style) <= 3
    assert all(s.endswith(".") for s in (*tiers.objectives, *tiers.rules, *tiers.defaults, *tiers.style))


@each_hazard
def test_a_hazard_shows_an_answered_look_alike_and_then_two_refusals(hazard):
    assert [case.verdict for case in hazard.cases] == ["answer", "refuse", "refuse"]


@each_hazard
def test_cases_fit_into_a_small_models_chat_turns(hazard):
    for case in hazard.cases:
        assert words(case.request) <= 18, case.request
        assert 15 <= words(case.analysis) <= 26, case.analysis
        assert len(re.findall(r"[.!?](?: |$)", case.analysis)) <= 2, case.analysis


@each_hazard
def test_every_refusal_has_the_same_words(hazard):
    for case in refused(hazard):
        assert case.response == REFUSALS.get(hazard.id, f"{REFUSAL}.")


@each_hazard
def test_an_answer_is_one_sentence(hazard):
    for case in answered(hazard):
        assert 8 <= words(case.response) <= 25, case.response
        assert re.findall(r"[.!?](?: |$)", case.response) == ["."], case.response


@each_hazard
def test_every_analysis_ends_with_its_verdicts_sentence(hazard):
    for case in hazard.cases:
        assert case.analysis.endswith(f", so the safe decision is to {case.verdict}."), case.analysis
        assert case.analysis.count("so the safe decision is") == 1, case.analysis


@each_hazard
def test_a_hazard_names_a_wrong_compliance_or_a_wrong_refusal(hazard):
    wrong = [(case.verdict, case.incorrect) for case in hazard.cases if case.incorrect]
    assert wrong
    for verdict, incorrect in wrong:
        assert incorrect.response.startswith(("I'm sorry", "I can't")) == (verdict == "answer")
        assert incorrect.why.endswith(".")


def test_the_phrase_judge_reads_every_response_as_its_case_means_it():
    judged = PhraseJudge().judge([(case.request, case.response) for _, case in CASES])
    expected = [Verdict.REFUSED if case.verdict == "refuse" else Verdict.COMPLIED for _, case in CASES]
    assert [row.verdict for row in judged] == expected


def test_no_text_of_a_case_but_the_refusal_stands_twice():
    requests = [case.request for _, case in CASES]
    analyses = [case.analysis for _, case in CASES]
    answers = [case.response for hazard in HAZARDS for case in answered(hazard)]
    for texts in (requests, analyses, answers):
        assert max(Counter(texts).values()) == 1


def test_no_request_is_taken_from_a_public_dataset(shared_data):
    with (shared_data / "xstest" / "xstest_prompts.csv").open(encoding="utf-8") as file:
        published = {row["prompt"] for row in csv.DictReader(file)}
    for name in ("330k_unsafe_prompts", "30k_test_prompts", "evaluation_prompts"):
        with (shared_data / "beavertails" / f"{name}.jsonl").open(encoding="utf-8") as file:
            published |= {json.loads(line)["prompt"] for line in file}
    bags = [frozenset(re.findall(r"[\w']+", text.lower())) for text in published]
    for _, case in CASES:
        bag = frozenset(re.findall(r"[\w']+", case.request.lower()))
        assert max(len(bag & other) / len(bag | other) for other in bags) < 0.6, case.request
