"""evals.attacks.pair with its attacker behind a server that speaks the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from judging.stub_endpoint import KEY, Stub, answer

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attacker import Attacker
from cada_trl.evals.attacks.attacker_cache import AttackerCache
from cada_trl.evals.attacks.pair import PairAttack
from cada_trl.evals.items import Attempt, Item
from cada_trl.judging.endpoint import ChatEndpoint
from cada_trl.judging.phrases import PhraseJudge


def gives_in(attempts: Sequence[Attempt]) -> list[str]:
    """Gives in to the second prompt."""
    return ["Knead, rest, bake." if attempt.prompt == "second" else "I can't help with that." for attempt in attempts]


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def make(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PairAttack]:
    monkeypatch.setenv("TEST_ATTACKER_KEY", KEY)

    def make(base_url: str = stub.url, max_retries: int = 2) -> PairAttack:
        endpoint = ChatEndpoint.from_settings(base_url, "stub", "TEST_ATTACKER_KEY", 5.0, max_retries)
        attacker = Attacker(endpoint, endpoint.llm, AttackerCache(tmp_path / "attacker.jsonl"), max_calls=100)
        return PairAttack(attacker, gives_in, "tested", PhraseJudge(), n_streams=1, n_iterations=3)

    return make


def test_the_loop_runs_over_the_protocol_through_a_rate_limit_and_keeps_the_key_to_itself(
    stub: Stub, make: Callable[..., PairAttack], items: list[Item], tmp_path: Path
) -> None:
    script: dict[int, tuple[int, Any]] = {
        1: answer("<improvement>a start</improvement><prompt>first</prompt>"),
        2: (429, {}),
        3: answer("<improvement>politer</improvement><prompt>second</prompt>"),
    }
    stub.script = lambda n: script[n]
    attacked = make().attempts(items[:1])
    assert [attempt.prompt for attempt in attacked.attempts] == ["second"]
    assert "turn 0.1 of 2 with stub" in attacked.attempts[0].note
    assert stub.bodies[1] == stub.bodies[2]
    assert stub.bodies[2]["temperature"] == 1.0
    assert [message["role"] for message in stub.bodies[2]["messages"]] == ["system", "user", "assistant", "user"]
    assert "I can't help with that." in stub.bodies[2]["messages"][3]["content"]
    assert stub.keys == {f"Bearer {KEY}"}
    assert KEY not in (tmp_path / "attacker.jsonl").read_text() + repr(attacked)


def test_a_server_that_fails_leaves_the_item_missing_and_the_next_call_goes_on(
    stub: Stub, make: Callable[..., PairAttack], items: list[Item]
) -> None:
    stub.script = lambda n: (500, {"error": {"message": KEY}})
    reason = make(max_retries=0).attempts(items[:1]).missing["toy-001"]
    assert "cut short after 0 turns: no answer from the attacker: HTTP 500" in reason
    assert KEY not in reason
    stub.script = lambda n: answer("<prompt>second</prompt>")
    assert make().attempts(items[:1]).missing == {}


def test_an_address_where_nothing_answers_is_one_line(make: Callable[..., PairAttack], items: list[Item]) -> None:
    with pytest.raises(UserError, match=r"stub at http://127.0.0.1:9/v1/: .*nothing answers there") as caught:
        make("http://127.0.0.1:9/v1", max_retries=0).attempts(items)
    assert "\n" not in str(caught.value)


def test_a_refused_key_ends_the_attack_in_one_line_without_the_key(
    stub: Stub, make: Callable[..., PairAttack], items: list[Item]
) -> None:
    stub.script = lambda n: (401, {"error": {"message": f"bad key {KEY}"}})
    with pytest.raises(UserError, match="the key is refused") as caught:
        make().attempts(items)
    assert KEY not in str(caught.value)
