"""Against a real HTTP server on this machine that answers like an OpenAI endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cada_trl.config import JudgeConfig
from cada_trl.data.llm_classifier import classify_with_llm, parse_answer
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack

PACK = load_pack("builtin")


class Endpoint:
    """Answers by the request's text; `asked` collects the texts, `status` is the HTTP status."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        self.status = 200
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = body["messages"][-1]["content"].split("<request>\n")[1].split("\n</request>")[0]
                endpoint.asked.append(text)
                message = {"role": "assistant", "content": endpoint.answers.get(text, "no idea")}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                self.send_response(endpoint.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(reply).encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.server.shutdown()
    running.server.server_close()


def judge_at(endpoint: Endpoint, max_calls: int = 100, api_key_env: str | None = None) -> JudgeConfig:
    url = f"http://127.0.0.1:{endpoint.server.server_port}/v1"
    return JudgeConfig(
        kind="rubric",
        judge_sees="final_response",
        base_url=url,
        llm="m",
        api_key_env=api_key_env,
        timeout_s=5.0,
        max_retries=0,
        max_calls=max_calls,
    )


@pytest.mark.parametrize(
    ("answer", "hazard"),
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
def test_only_an_id_alone_is_an_answer(answer: str, hazard: str) -> None:
    assert parse_answer(answer, PACK).hazard == hazard


def test_each_text_gets_its_answer_in_order_and_the_rest_is_unclassified(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers = {f"text {i}": hazard for i, hazard in enumerate(PACK.hazards)}
    texts = [*endpoint.answers, "unknown text"]
    found = classify_with_llm(texts, PACK, judge_at(endpoint), tmp_path)
    assert [one.hazard for one in found] == [*PACK.hazards, "unclassified"]


def test_a_second_call_asks_only_for_what_is_missing(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers = {"a": "hate", "b": "privacy"}
    classify_with_llm(["a"], PACK, judge_at(endpoint), tmp_path)
    found = classify_with_llm(["b", "a", "A!"], PACK, judge_at(endpoint), tmp_path)
    assert [one.hazard for one in found] == ["privacy", "hate", "hate"]
    assert endpoint.asked == ["a", "b"]


def test_a_torn_last_line_is_asked_again_and_the_others_are_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers = {"a": "hate", "b": "privacy"}
    classify_with_llm(["a"], PACK, judge_at(endpoint), tmp_path)
    (cache,) = tmp_path.glob("*.jsonl")
    cache.write_text(cache.read_text() + '{"text_sha256": "12')
    assert [one.hazard for one in classify_with_llm(["a", "b"], PACK, judge_at(endpoint), tmp_path)] == [
        "hate",
        "privacy",
    ]
    assert endpoint.asked == ["a", "b"]


def test_a_failing_endpoint_is_one_line_and_keeps_what_was_answered(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers = {"a": "hate"}
    classify_with_llm(["a"], PACK, judge_at(endpoint), tmp_path)
    endpoint.status = 401
    with pytest.raises(UserError, match="AuthenticationError"):
        classify_with_llm(["a", "b"], PACK, judge_at(endpoint), tmp_path)
    assert classify_with_llm(["a"], PACK, judge_at(endpoint), tmp_path)[0].hazard == "hate"


def test_more_texts_than_max_calls_are_refused_before_the_first_call(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 texts to classify exceed max_calls=1"):
        classify_with_llm(["a", "b"], PACK, judge_at(endpoint, max_calls=1), tmp_path)
    assert endpoint.asked == []


def test_a_key_variable_that_is_not_set_is_named(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable A_KEY is not set"):
        classify_with_llm(["a"], PACK, judge_at(endpoint, api_key_env="A_KEY"), tmp_path)


def test_a_judge_without_an_endpoint_is_refused(endpoint: Endpoint, tmp_path: Path) -> None:
    judge = judge_at(endpoint).model_copy(update={"base_url": None})
    with pytest.raises(UserError, match="classifier=llm needs base_url and llm"):
        classify_with_llm(["a"], PACK, judge, tmp_path)
