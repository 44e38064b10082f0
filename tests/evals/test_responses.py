"""Attempts and responses on disk: each answer logged when it comes, and none of another set of attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import Attacked, Kind, NoAttack
from cada_trl.evals.eval_folder import EvalFolder
from cada_trl.evals.generation.generator import Completion
from cada_trl.evals.items import Attempt, Item
from cada_trl.evals.plan import Plan, PlannedBenchmark
from cada_trl.evals.responses import Missing, make_attempts, respond
from cada_trl.records import read_jsonl
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
    attempts, missing = make_attempts(plan(NoAttack(), Writes(3)), EvalFolder(tmp_path))
    assert [attempt.id for attempt in attempts][3:5] == ["six/six-3/none", "six/six-0/paraphrase"]
    assert missing == [Missing("six", "paraphrase", "six-3", "the attacker gave no answer")]
    assert [row["key"] for _, row in read_jsonl(tmp_path / "attempts.jsonl")] == [attempt.key for attempt in attempts]
    assert [row["item"] for _, row in read_jsonl(tmp_path / "missing.jsonl")] == ["six-3"]


def test_an_attack_that_was_cut_short_may_add_attempts_later_but_none_may_go(tmp_path: Path) -> None:
    folder = EvalFolder(tmp_path)
    make_attempts(plan(Writes(2)), folder)
    attempts, missing = make_attempts(plan(Writes(4)), folder)
    assert (len(attempts), missing) == (4, [])
    with pytest.raises(UserError, match="an attack's cache is gone"):
        make_attempts(plan(Writes(3)), folder)
