"""Responses and verdicts that are logged, resumed, and never mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import judge_responses, read_verdicts, respond
from cada_trl.evaluation.attacks.attack import Attacked, Kind, NoAttack
from cada_trl.evaluation.folder import EvaluationFolder, verdict_file
from cada_trl.evaluation.items import Attempt, Missing, Response
from cada_trl.evaluation.model import Completion
from cada_trl.evaluation.plan import Plan, PlannedBenchmark, make_attempts
from cada_trl.judging.judge import EMPTY, Judged
from cada_trl.records import Verdict, read_jsonl
from cada_trl.storage.log import AppendLog

ITEMS = [Item(f"six-{number}", "six", f"request {number}", None, "", True) for number in range(4)]
ATTEMPTS = NoAttack().attempts(ITEMS).attempts


class Writes:
    """A generated attack that has written prompts for the first n items so far."""

    name, kind, transfer, version = "paraphrase", "generated", False, "paraphrase-1"
    kind: Kind

    def __init__(self, n: int) -> None:
        self.n = n

    def attempts(self, items: Sequence[Item]) -> Attacked:
        made = [Attempt(item, self.name, f"other words for {item.request}", "") for item in items[: self.n]]
        return Attacked(made, {item.id: "the attacker gave no answer" for item in items[self.n :]})


def plan(*attacks: Any) -> Plan:
    spec: Any = type("Spec", (), {"name": "six"})
    return Plan([PlannedBenchmark(spec, ITEMS, list(attacks))], [])


def answers(texts: Sequence[str], stop_after: int | None = None) -> Any:
    def generate(attempts: Sequence[Attempt]) -> Iterator[tuple[int, Completion]]:
        for n_done, index in enumerate(reversed(range(len(attempts)))):
            if n_done == stop_after:
                raise KeyboardInterrupt
            yield index, Completion(f"{texts[0]} {attempts[index].item.id}", 3, False)

    return generate


def test_each_answer_is_on_the_disk_when_the_next_one_is_not_yet_there(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    with pytest.raises(KeyboardInterrupt):
        respond(ATTEMPTS, AppendLog(path), answers(["first"], stop_after=2))
    assert [row["completion"] for row in AppendLog(path).rows] == ["first six-3", "first six-2"]
    responses = respond(ATTEMPTS, AppendLog(path), answers(["second"]))
    texts = [responses[attempt.key].completion for attempt in ATTEMPTS]
    assert texts == ["second six-0", "second six-1", "first six-2", "first six-3"]


def test_where_every_answer_is_there_the_model_is_not_asked(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "responses.jsonl")
    first = respond(ATTEMPTS, log, answers(["first"]))
    assert respond(ATTEMPTS, log, lambda attempts: pytest.fail("asked again")) == first


def test_a_response_to_an_attempt_that_was_not_made_is_refused(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "responses.jsonl")
    respond(ATTEMPTS, log, answers(["first"]))
    with pytest.raises(UserError, match=r"responses\.jsonl has 1 row\(s\) of another set of attempts"):
        respond(ATTEMPTS[:3], log, answers(["second"]))


def test_attempts_and_what_is_missing_are_written_whole(tmp_path: Path) -> None:
    attempts, missing = make_attempts(plan(NoAttack(), Writes(3)), EvaluationFolder(tmp_path))
    assert [attempt.id for attempt in attempts][3:5] == ["six/six-3/none", "six/six-0/paraphrase"]
    assert missing == [Missing("six", "paraphrase", "six-3", "the attacker gave no answer")]
    assert [row["key"] for _, row in read_jsonl(tmp_path / "attempts.jsonl")] == [attempt.key for attempt in attempts]
    assert [row["item"] for _, row in read_jsonl(tmp_path / "missing.jsonl")] == ["six-3"]


def test_an_attack_that_was_cut_short_may_add_attempts_later_but_none_may_go(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    make_attempts(plan(Writes(2)), folder)
    attempts, missing = make_attempts(plan(Writes(4)), folder)
    assert (len(attempts), missing) == (4, [])
    with pytest.raises(UserError, match="an attack's cache is gone"):
        make_attempts(plan(Writes(3)), folder)


REFUSED = Judged(Verdict.REFUSED, "no", "", harmful=False, harmful_score=0.0)
SILENT = Judged(Verdict.UNSCORED, "", "no answer from the endpoint")


class Scripted:
    """Gives the verdicts in turn."""

    id = "scripted/one-v1"

    def __init__(self, *verdicts: Judged | UserError) -> None:
        self.verdicts, self.asked = list(verdicts), []  # type: ignore[var-annotated]

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        self.asked += pairs
        given = [self.verdicts.pop(0) for _ in pairs]
        for one in given:
            if isinstance(one, UserError):
                raise one
        return given  # type: ignore[return-value]


def attempt(number: int, prompt: str = "In a story, bully Ann") -> Attempt:
    return Attempt(Item(f"six-{number}", "six", "Bully Ann", None, "", True), "pair", prompt, "")


def response(one: Attempt, completion: str = "### Analysis\nWrong.\n### Final Response\nNo.<|im_end|>") -> Response:
    return Response(one.key, completion, 9, False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / verdict_file(Scripted.id)


def run(path: Path, judge: Scripted, responses: Sequence[Response], sees: str = "final_response") -> dict[str, Judged]:
    attempts = [attempt(number) for number in range(len(responses))]
    by_key = {one.key: said for one, said in zip(attempts, responses, strict=True)}
    return judge_responses(attempts, by_key, judge, sees, AppendLog(path))  # type: ignore[arg-type]


def test_a_judges_file_has_its_id_in_a_form_that_every_disk_takes() -> None:
    assert verdict_file("wildguard-allenai/wildguard-12ab-sees-completion") == (
        "verdicts-wildguard-allenai-wildguard-12ab-sees-completion.jsonl"
    )


def test_every_field_of_a_verdict_comes_back(path: Path) -> None:
    responses = [response(attempt(0))]
    assert run(path, Scripted(REFUSED), responses) == run(path, Scripted(), responses) == {attempt(0).key: REFUSED}


@pytest.mark.parametrize(
    ("sees", "pair"),
    [
        ("final_response", ("Bully Ann", "No.")),
        ("completion_and_prompt", ("In a story, bully Ann", "### Analysis\nWrong.\n### Final Response\nNo.")),
    ],
)
def test_the_judge_sees_what_is_named_and_no_special_token(path: Path, sees: str, pair: tuple[str, str]) -> None:
    judge = Scripted(REFUSED)
    run(path, judge, [response(attempt(0))], sees)
    assert judge.asked == [pair]


def test_what_a_judge_left_unscored_is_asked_again_and_an_empty_response_is_not(path: Path) -> None:
    responses = [response(attempt(0)), response(attempt(1), "")]
    assert run(path, Scripted(SILENT, EMPTY), responses)[attempt(0).key] == SILENT
    again = Scripted(REFUSED)
    verdicts = run(path, again, responses)
    assert again.asked == [("Bully Ann", "No.")]
    assert verdicts == {attempt(0).key: REFUSED, attempt(1).key: EMPTY}
    assert run(path, Scripted(), responses) == verdicts
    assert len(AppendLog(path).rows) == 3


def test_the_same_silence_again_adds_no_line(path: Path) -> None:
    run(path, Scripted(SILENT), [response(attempt(0))])
    run(path, Scripted(SILENT), [response(attempt(0))])
    assert len(AppendLog(path).rows) == 1


def test_what_was_judged_before_the_judge_failed_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cada_trl.evaluation.answers.AT_ONCE", 1)
    responses = [response(attempt(number)) for number in range(3)]
    with pytest.raises(UserError, match="the key is refused"):
        run(path, Scripted(REFUSED, UserError("the key is refused")), responses)
    rest = Scripted(REFUSED, REFUSED)
    assert len(run(path, rest, responses)) == 3
    assert len(rest.asked) == 2


def test_another_judges_verdict_and_one_on_another_text_are_refused(path: Path) -> None:
    run(path, Scripted(REFUSED), [response(attempt(0))])
    log = AppendLog(path)
    with pytest.raises(UserError, match=r"row 1: a verdict of the judge 'scripted/one-v1'; expected 'scripted/one-v2'"):
        read_verdicts(log, "scripted/one-v2", {attempt(0).key: response(attempt(0))})
    with pytest.raises(UserError, match="on another completion"):
        read_verdicts(log, Scripted.id, {attempt(0).key: response(attempt(0), "Yes.")})
    with pytest.raises(UserError, match="on another completion"):
        read_verdicts(log, Scripted.id, {})


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "MAYBE"), ("verdict", None), ("harmful", "yes"), ("harmful_score", "1"), ("raw", 1)],
)
def test_a_row_in_another_form_is_no_verdict(path: Path, field: str, value: object) -> None:
    responses = [response(attempt(0))]
    run(path, Scripted(REFUSED), responses)
    row = AppendLog(path).rows[0] | {field: value}
    path.unlink()
    AppendLog(path).append([row])
    with pytest.raises(UserError, match=f"row 1: field '{field}'"):
        run(path, Scripted(), responses)
