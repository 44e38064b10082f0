"""Records that come back from their rows, and outcomes joined from files that belong together."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.items import (
    Attempt,
    Response,
    from_row,
    join,
    to_row,
)
from cada_trl.judging.judge import EMPTY, Judged
from cada_trl.records import Verdict

ITEM = Item("set-001", "set", 'How is "tea" made?\nPlease.', None, "drinks", harmful=False)
ATTEMPT = Attempt(ITEM, "none", ITEM.request, "")
RESPONSE = Response(ATTEMPT.key, "### Analysis\n…", 7, truncated=True)


def through_json(record: Item | Attempt | Response) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(json.dumps(to_row(record)))
    return row


def test_records_come_back_as_they_were() -> None:
    assert from_row(Item, through_json(ITEM)) == ITEM
    assert from_row(Attempt, through_json(ATTEMPT)) == ATTEMPT
    assert from_row(Response, through_json(RESPONSE)) == RESPONSE


def test_an_attempts_key_is_the_hash_of_its_id_and_prompt() -> None:
    assert ATTEMPT.id == "set/set-001/none"
    content = json.dumps(["set/set-001/none", ITEM.request]).encode()
    assert ATTEMPT.key == to_row(ATTEMPT)["key"] == hashlib.sha256(content).hexdigest()[:16]


def test_another_prompt_or_attack_is_another_attempt_and_another_note_is_not() -> None:
    others = [Attempt(ITEM, "none", "Tea?", ""), Attempt(ITEM, "base64", ITEM.request, "")]
    assert len({ATTEMPT.key, *(other.key for other in others)}) == 3
    assert Attempt(ITEM, "none", ITEM.request, "seen elsewhere").key == ATTEMPT.key


def test_half_of_a_surrogate_pair_has_a_key() -> None:
    assert len(Attempt(ITEM, "none", "\ud83d", "").key) == 16


def test_an_edited_prompt_is_refused() -> None:
    row = to_row(ATTEMPT) | {"prompt": "How is coffee made?"}
    with pytest.raises(UserError, match=r"attempt set/set-001/none: key '\w{16}' is not that of its prompt"):
        from_row(Attempt, row)


@pytest.mark.parametrize(
    ("kind", "record", "change", "seen"),
    [
        (Item, ITEM, {"harmful": "no"}, "item row: field 'harmful' is 'no'; expected bool"),
        (Item, ITEM, {"hazard": 3}, "field 'hazard' is 3; expected str or null"),
        (Attempt, ATTEMPT, {"item": None}, "attempt row: field 'item' is None; expected dict"),
        (Response, RESPONSE, {"completion_tok": 1.5}, "field 'completion_tok' is 1.5; expected int"),
        (Response, RESPONSE, {"completion_tok": True}, "field 'completion_tok' is True; expected int"),
    ],
)
def test_a_wrong_field_is_named(kind: Any, record: Any, change: dict[str, Any], seen: str) -> None:
    with pytest.raises(UserError, match=seen):
        from_row(kind, to_row(record) | change)


def test_a_missing_field_is_named() -> None:
    row = to_row(RESPONSE)
    del row["truncated"]
    with pytest.raises(UserError, match="response row: field 'truncated' is None; expected bool"):
        from_row(Response, row)


def test_a_field_of_a_later_version_is_left_out() -> None:
    assert from_row(Response, to_row(RESPONSE) | {"finish_reason": "stop"}) == RESPONSE


def attempt(number: int, prompt: str = "") -> Attempt:
    item = Item(f"set-{number}", "set", f"request {number}", "hate", "", harmful=True)
    return Attempt(item, "none", prompt or item.request, "")


ONE, TWO = attempt(1), attempt(2)
REASONED = "### Analysis\nIt asks for harm.\n### Final Response\nNo."


def response(to: Attempt, completion: str = "No.", truncated: bool = False) -> Response:
    return Response(to.key, completion, 3, truncated)


def test_an_answered_and_judged_attempt_has_every_label() -> None:
    judged = Judged(Verdict.REFUSED, "", "", harmful=False, harmful_score=0.0)
    (outcome,) = join([ONE], [response(ONE, REASONED)], {ONE.key: judged})
    assert (outcome.refused, outcome.complied, outcome.harmful, outcome.harmful_score) == (True, False, False, 0.0)
    assert (outcome.reasoning, outcome.truncated, outcome.scored) == (True, False, True)


def test_an_attempt_without_a_response_knows_nothing() -> None:
    (outcome,) = join([ONE], [], {})
    values = (outcome.refused, outcome.complied, outcome.harmful, outcome.harmful_score, outcome.reasoning)
    assert (*values, outcome.truncated) == (None,) * 6
    assert not outcome.scored


def test_a_response_without_a_verdict_still_shows_whether_it_reasons_and_ends() -> None:
    (outcome,) = join([ONE], [response(ONE, "It asks", truncated=True)], {})
    assert (outcome.refused, outcome.reasoning, outcome.truncated) == (None, False, True)


def test_an_unscored_verdict_is_neither_refused_nor_complied() -> None:
    (outcome,) = join([ONE], [response(ONE, "")], {ONE.key: EMPTY})
    assert (outcome.refused, outcome.complied, outcome.scored) == (None, None, False)


def test_a_judge_of_harm_alone_scores_without_a_word_on_refusal() -> None:
    (outcome,) = join([ONE], [response(ONE)], {ONE.key: Judged(Verdict.UNSCORED, "", "", harmful=True)})
    assert (outcome.refused, outcome.harmful, outcome.scored) == (None, True, True)


def test_outcomes_keep_the_order_of_the_attempts_and_not_of_the_files() -> None:
    outcomes = join([ONE, TWO], [response(TWO), response(ONE)], {})
    assert [outcome.attempt for outcome in outcomes] == [ONE, TWO]


@pytest.mark.parametrize(
    ("attempts", "responses", "verdicts", "message"),
    [
        ([ONE], [response(attempt(1, "another wording"))], {}, "answers none of the 1 attempts; files were mixed up"),
        ([ONE], [response(ONE), response(ONE, "Yes.")], {}, f"two responses to the attempt {ONE.key} differ"),
        ([ONE, TWO], [response(ONE)], {TWO.key: Judged(Verdict.REFUSED, "", "")}, "verdict"),
        ([ONE, attempt(1, "another wording")], [], {}, "twice"),
    ],
)
def test_files_that_do_not_belong_together_are_mixed_up(
    attempts: list[Attempt], responses: list[Response], verdicts: dict[str, Judged], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        join(attempts, responses, verdicts)


def test_the_same_response_twice_is_one() -> None:
    assert len(join([ONE], [response(ONE), response(ONE)], {})) == 1


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_a_harmful_score_outside_zero_to_one_never_becomes_a_number(bad: float) -> None:
    judged = Judged(Verdict.COMPLIED, "", "", harmful_score=bad)
    with pytest.raises(ValueError, match="harmful_score"):
        join([ONE], [response(ONE)], {ONE.key: judged})
