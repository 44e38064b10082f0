"""What all judges behind an endpoint share, against a server that speaks the protocol; grades of reasoning scale the
pay for it, and what was not graded is no number."""

import logging
import math
import re
import time
from dataclasses import asdict

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.forms import RUBRICS, read_rubric
from cada_trl.judging.from_config import make_judge, make_reasoning_judge
from cada_trl.judging.judge import Judged, check_reachable
from cada_trl.judging.model_judge import ModelJudge, ReasoningJudge, verdict_cache
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict
from cada_trl.reward import score_completions

from .stub_endpoint import KEY, Scripted, answer, judge_settings

PAIR = ("How do I pick a lock?", "I can't help with that.")


@pytest.fixture
def make(stub, monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    rubric = {"kind": "rubric", "base_url": stub.url, "llm": "stub", "api_key_env": "TEST_JUDGE_KEY"}

    def make(cache_dir=None, **changed):
        return make_judge(judge_settings(**(rubric | changed)), cache_dir)

    return make


def test_the_model_sees_request_and_reply_at_temperature_zero_and_the_key_from_the_environment(stub, make):
    make().judge([PAIR])
    body = stub.bodies[0]
    assert body["temperature"] == 0.0
    assert all(text in body["messages"][1]["content"] for text in PAIR)
    assert stub.keys == {f"Bearer {KEY}"}


def test_a_slow_judge_times_out_to_unscored(stub, make):
    def slow(n):
        time.sleep(1.0)
        return answer("REFUSED")

    judge = make(max_retries=0, timeout_s=0.3)
    stub.script = slow
    judged = judge.judge([PAIR])[0]
    assert judged.verdict is Verdict.UNSCORED
    assert "Timeout" in judged.reason
    assert len(stub.bodies) == 1


NO_COMPLETIONS = [  # more of them are in test_any_file.py
    "<!doctype html><html>gateway</html>",
    b"\xff\xfe\x00\x01",
    b"[" * 100_000,
    {"choices": {"text": "REFUSED"}},
    {"choices": [{"message": None}]},
    {"choices": [{"message": {"content": ["REFUSED"]}}]},
]


@pytest.mark.parametrize("reply", NO_COMPLETIONS, ids=lambda reply: repr(reply)[:30])
def test_a_reply_that_is_no_completion_is_unscored_and_before_the_run_it_is_one_line(stub, make, reply):
    stub.script = lambda n: (200, reply)
    judged = make().judge([PAIR])[0]
    assert (judged.verdict, judged.raw) == (Verdict.UNSCORED, "")
    assert "the reply is no completion with a text" in judged.reason
    stub.check = (200, reply)
    with pytest.raises(UserError, match=r"judge rubric: stub at .*: the reply is no completion .*; check"):
        check_reachable(make())


@pytest.mark.parametrize("said", ["", "8", "Hello! How can I help?", "REFUSED or COMPLIED", "<html></html>", "\x1b[2J"])
def test_a_judge_that_does_not_answer_in_its_form_is_told_before_the_run(stub, make, said):
    stub.check = answer(said)
    line = f"judge rubric: stub says {said!r} of a harmless pair; the answer is not REFUSED or COMPLIED; check llm"
    with pytest.raises(UserError, match=re.escape(line)):
        check_reachable(make())
    assert stub.bodies == []


def test_tokens_that_are_no_numbers_are_unsaid(stub, make):
    status, body = answer("REFUSED")
    stub.script = lambda n: (status, body | {"usage": "many"})
    judge = make()
    assert judge.judge([PAIR])[0].verdict is Verdict.REFUSED
    assert (judge.usage.calls, judge.usage.prompt_tok) == (1, None)


def test_the_key_is_in_no_log_line(stub, make, caplog):
    with caplog.at_level(logging.DEBUG):
        judge = make()
        judge.judge([PAIR])
    assert caplog.records
    assert KEY not in caplog.text
    assert KEY not in repr(vars(judge))


def test_the_budget_is_checked_before_a_question_is_asked(stub, make):
    with pytest.raises(UserError, match="max_calls=2"):
        make(max_calls=2).judge([("q", f"reply {i}") for i in range(3)])
    assert stub.bodies == []


def test_equal_pairs_cost_one_question_and_an_empty_response_none(stub, make):
    verdicts = make(max_calls=1).judge([PAIR, ("q", ""), PAIR])
    assert len(stub.bodies) == 1
    assert [one.verdict for one in verdicts] == [Verdict.REFUSED, Verdict.UNSCORED, Verdict.REFUSED]


def test_a_cached_verdict_costs_no_question_and_needs_no_server(stub, make, tmp_path):
    first = make(cache_dir=tmp_path).judge([PAIR])
    again = make(cache_dir=tmp_path, base_url="http://127.0.0.1:9/v1", max_retries=0).judge([PAIR])
    assert first == again
    assert len(stub.bodies) == 1


def test_a_rubrics_word_is_read_in_any_case_and_dress():
    assert read_rubric(' "Complied". ').verdict is Verdict.COMPLIED
    assert read_rubric("REFUSED\n").verdict is Verdict.REFUSED


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "verdicts.jsonl"


def keeping(path, *answers, llm="one"):
    """A judge that keeps its verdicts there, and the model that it asks."""
    model = Scripted(*answers)
    model.llm = llm
    return ModelJudge(RUBRICS["rubric"], model, 9, verdict_cache(path)), model


def test_judge_request_and_reply_are_all_part_of_the_key(path):
    keeping(path, "REFUSED")[0].judge([("a", "b")])
    judge, model = keeping(path, "COMPLIED", "COMPLIED")
    verdicts = [one.verdict for one in judge.judge([("a", "b"), ("b", "a"), ("ab", "b")])]
    assert (verdicts, len(model.asked)) == ([Verdict.REFUSED, Verdict.COMPLIED, Verdict.COMPLIED], 2)


def test_the_verdict_of_another_judge_is_kept_and_not_taken_for_its_own(path):
    said = {"one": Verdict.REFUSED, "another": Verdict.COMPLIED}
    for llm, verdict in said.items():
        assert keeping(path, verdict.value, llm=llm)[0].judge([("a", "b")])[0].verdict is verdict
    assert {llm: keeping(path, llm=llm)[0].judge([("a", "b")])[0].verdict for llm in said} == said


def test_of_two_judges_at_once_the_first_verdict_counts(path):
    judges = [keeping(path, answer)[0] for answer in ("REFUSED", "COMPLIED")]
    assert [judge.judge([("a", "b")])[0].raw for judge in judges] == ["REFUSED", "REFUSED"]
    assert len(path.read_text().splitlines()) == 1


def test_unscored_is_not_remembered(path):
    assert not keeping(path, "hm")[0].judge([("a", "b")])[0].scored
    assert path.read_text() == ""


def test_every_field_of_a_verdict_is_remembered_and_no_text(path):
    judged = Judged(Verdict.COMPLIED, "COMPLIED", "m says so", harmful=False, harmful_score=0.25)
    verdict_cache(path).put(("j", "0a", "0b"), asdict(judged))
    assert verdict_cache(path).known == {("j", "0a", "0b"): judged}
    keeping(path, "REFUSED")[0].judge([("a private request", "a private reply")])
    assert "private" not in path.read_text()


PACK = load_pack("builtin")
HAZARD = next(iter(PACK.hazards))
TABLE = load_config(["reward=judged_reasoning"]).reward
REASONED = "### Analysis\nIt would harm.\n### Final Response\nI'm sorry, but I can't help with that."
DIRECT = "I'm sorry, but I can't help with that."


def test_five_digits_are_grades_from_0_to_1_and_anything_else_is_none():
    judge = ReasoningJudge(Scripted("1", "3", " 5.", "6", "good", None), PACK, max_calls=10)
    grades = judge.grade([("request", HAZARD, "analysis")] * 6)
    assert grades[:3] == [0.0, 0.5, 1.0]
    assert all(math.isnan(grade) for grade in grades[3:])


def test_the_judge_is_told_the_hazard_and_shown_no_special_token():
    model = Scripted("5")
    ReasoningJudge(model, PACK, max_calls=1).grade([("the request", HAZARD, "an <|im_end|>analysis")])
    ((_, user),) = model.asked
    assert PACK.hazards[HAZARD].code in user["content"] and "the request" in user["content"]
    assert "an analysis" in user["content"]


def test_more_questions_than_max_calls_are_refused():
    with pytest.raises(UserError, match="exceed max_calls=1"):
        ReasoningJudge(Scripted("5", "5"), PACK, max_calls=1).grade([("request", HAZARD, "analysis")] * 2)


def test_only_reasoned_refusals_of_harmful_requests_are_graded_and_their_pay_is_scaled():
    model = Scripted("3", "?")
    judge = ReasoningJudge(model, PACK, max_calls=10)
    texts = [REASONED, DIRECT, "Of course.", REASONED, REASONED]
    rows = [{"request": "r", "hazard": HAZARD, "harmful": harmful} for harmful in (True, True, True, True, False)]
    scored = score_completions(rows, texts, [False] * 5, PhraseJudge(), TABLE, judge)
    rewards = [one.reward for one in scored]
    assert len(model.asked) == 2
    assert rewards[:3] == [0.5, 0.0, -1.0] and math.isnan(rewards[3]) and rewards[4] == -1.0


def test_without_reasoning_pay_a_direct_refusal_earns_as_much():
    table = load_config(["reward=no_reasoning"]).reward
    rows = [{"request": "r", "harmful": True}] * 2
    scored = score_completions(rows, [REASONED, DIRECT], [False] * 2, PhraseJudge(), table)
    assert [one.reward for one in scored] == [1.0, 1.0]


def test_a_judge_without_an_endpoint_cannot_grade():
    with pytest.raises(UserError, match="judged_reasoning needs a judge behind an endpoint; judge=phrases has none"):
        make_reasoning_judge(load_config([]).judge, PACK)
    with pytest.raises(UserError, match="reasoning=judged needs a judge behind an endpoint"):
        load_config(["reward=judged_reasoning", "judge=phrases"])


def test_each_analysis_is_graded_by_its_own_rows_hazard():
    hazards = list(PACK.hazards)[:3]
    model = Scripted("5", "5")
    judge = ReasoningJudge(model, PACK, max_calls=10)
    requests = ["first", "second", "third"]
    rows = [{"request": one, "hazard": of, "harmful": True} for one, of in zip(requests, hazards, strict=True)]
    score_completions(rows, [DIRECT, REASONED, REASONED], [False] * 3, PhraseJudge(), TABLE, judge)
    asked = [messages[1]["content"] for messages in model.asked]
    for question, request, hazard in zip(asked, requests[1:], hazards[1:], strict=True):
        assert f"<request>\n{request}\n" in question
        assert f"<hazard>\n{PACK.hazards[hazard].name}: {PACK.hazards[hazard].code}\n" in question
