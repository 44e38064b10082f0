"""judging.endpoint: the client that judges and attackers share.

LocalModel with a tiny random Llama and a tokenizer of the bytes: the path, not any guard's judgement."""

import shutil
import time

import openai
import pytest

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import ChatEndpoint, LocalModel, Text, Usage
from cada_trl.judging.forms import GUARDS
from cada_trl.judging.model_judge import ModelJudge
from cada_trl.records import Verdict

from .stub_endpoint import KEY, answer

MESSAGES = [{"role": "user", "content": "Bake bread."}]


@pytest.fixture
def make(stub, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)

    def make(max_retries=2, base_url=stub.url, api_key_env="TEST_KEY"):
        return ChatEndpoint.from_settings(base_url, "stub", api_key_env, 5.0, max_retries)

    return make


def test_the_temperature_and_the_bound_of_tokens_are_the_callers(stub, make):
    stub.script = lambda n: answer("Knead.")
    assert make().complete(MESSAGES, 7, 0.9) == "Knead."
    body = stub.bodies[0]
    assert (body["model"], body["messages"], body["max_tokens"], body["temperature"]) == ("stub", MESSAGES, 7, 0.9)


@pytest.mark.parametrize("added", [True, False])
def test_a_text_goes_to_the_completions_route_with_or_without_a_start_token(stub, make, added):
    stub.script = lambda n: answer("yes")
    assert make().complete(Text("[INST] Is it? [/INST]", added), 1, 0.0) == "yes"
    assert stub.paths == ["/v1/completions"]
    body = stub.bodies[0]
    assert (body["prompt"], body["add_special_tokens"]) == ("[INST] Is it? [/INST]", added)


@pytest.mark.slow
def test_a_rate_limit_waits_as_long_as_the_server_asks(stub, make):
    stub.headers = {"retry-after": "1.5"}
    stub.script = lambda n: (429, {}) if n == 1 else answer("Knead.")
    started = time.perf_counter()
    assert make().complete(MESSAGES, 7, 0.0) == "Knead."
    assert time.perf_counter() - started >= 1.5  # the client itself would wait half a second
    assert len(stub.bodies) == 2


def test_a_server_that_keeps_failing_is_an_api_error_after_the_retries(stub, make):
    stub.script = lambda n: (503, {})
    with pytest.raises(openai.APIError):
        make(max_retries=1).complete(MESSAGES, 7, 0.0)
    assert len(stub.bodies) == 2


@pytest.mark.parametrize(
    ("status", "words"), [(401, "the key is refused"), (403, "access is denied"), (404, "no such model or path")]
)
def test_a_wrong_setting_is_a_users_mistake_without_the_key(stub, make, status, words):
    stub.script = lambda n: (status, {"error": {"message": f"bad key {KEY}"}})
    with pytest.raises(UserError, match=f"stub at .*HTTP {status}, {words}") as caught:
        make().complete(MESSAGES, 7, 0.0)
    assert KEY not in str(caught.value) and caught.value.__cause__ is None
    assert len(stub.bodies) == 1  # a retry would not help


def test_a_refused_key_ends_the_batch_at_once(stub, make):
    stub.script = lambda n: (401, {})
    with pytest.raises(UserError, match="the key is refused"):
        list(make().answers([MESSAGES] * 200, 7))
    assert len(stub.bodies) < 200


def test_answers_carry_the_index_of_their_prompt_and_the_reason_where_there_is_none(stub, make):
    stub.script = lambda n: (500, {}) if "soup" in stub.bodies[n - 1]["messages"][0]["content"] else answer("Knead.")
    prompts = [[{"role": "user", "content": text}] for text in ("soup", "bread", "cake")]
    # one prompt at a time, so that the n-th body is surely the n-th question
    found = {i: next(iter(make(max_retries=0).answers([prompt], 7)))[1] for i, prompt in enumerate(prompts)}
    assert (found[0].text, found[1].text, found[2].text) == (None, "Knead.", "Knead.")
    assert "HTTP 500" in found[0].reason
    stub.script = lambda n: answer("Knead.")
    assert sorted(i for i, _ in make().answers(prompts * 5, 7)) == list(range(15))


def test_tokens_are_counted_and_unknown_once_an_answer_leaves_them_unsaid(stub, make):
    endpoint = make()
    stub.script = lambda n: answer("Knead.", (11, 3) if n < 3 else None)
    list(endpoint.answers([MESSAGES, MESSAGES], 7))
    assert endpoint.usage == Usage(calls=2, prompt_tok=22, completion_tok=6)
    endpoint.complete(MESSAGES, 7, 0.0)
    assert endpoint.usage == Usage(calls=3, prompt_tok=None, completion_tok=None)


def test_an_endpoint_that_is_down_is_told_before_the_work(make):
    with pytest.raises(UserError, match="nothing answers there") as caught:
        make(base_url="http://127.0.0.1:9/v1", max_retries=0).check_reachable()
    assert "\n" not in str(caught.value)


def test_an_endpoint_without_a_key_needs_no_variable(stub, make):
    make(api_key_env=None).check_reachable()
    assert stub.keys == {"Bearer not-needed"}


def test_a_missing_key_names_its_variable(make):
    with pytest.raises(UserError, match="NO_SUCH_KEY is not set"):
        make(api_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f"{KEY}\r", f" {KEY}", f"\u201c{KEY}\u201d", f"sk\u200b{KEY}", f"sk\x1b{KEY}"]
)
def test_a_key_that_no_header_can_carry_names_its_variable_and_not_itself(make, monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(UserError, match="environment variable TEST_KEY is no key: it has a blank at an end") as caught:
        make()
    assert KEY not in str(caught.value)


MOST_TOK = 2048
PROMPTS = [Text(text, False) for text in ("abc", "the longest prompt of all of them", "ab")]


def test_an_answer_does_not_depend_on_the_batch_it_is_asked_in(tiny):
    model = LocalModel(str(tiny))
    together = dict(model.answers(PROMPTS, 5))
    alone = {i: dict(model.answers([prompt], 5))[0] for i, prompt in enumerate(PROMPTS)}
    assert together == alone
    assert all(answer.text for answer in alone.values())
    assert model.usage.calls == 6
    assert model.usage.prompt_tok == 2 * sum(len(prompt.text) for prompt in PROMPTS)


def test_a_prompt_beyond_the_positions_is_not_answered_and_says_so(tiny):
    found = dict(LocalModel(str(tiny)).answers([Text("a" * MOST_TOK, False), PROMPTS[0]], 5))
    assert found[0].text is None
    assert f"{MOST_TOK} tokens do not fit" in found[0].reason
    assert found[1].text


def test_a_guard_that_answers_noise_leaves_the_pair_unscored_with_the_text_kept(tiny):
    judge = ModelJudge(GUARDS["harmbench"], LocalModel(str(tiny)), 9)
    judge.check_reachable()
    judged = judge.judge([("q", "r")])[0]
    assert (judged.verdict, judged.harmful) == (Verdict.UNSCORED, None)
    assert judged.reason == "the answer is not yes or no"
    assert len(judged.raw) == 1


def test_looking_for_the_weights_reads_none_of_them(tiny):
    model = LocalModel(str(tiny))
    model.check_reachable(PROMPTS[0], 5)
    assert "_loaded" not in vars(model)


def test_weights_that_transformers_would_start_at_random_are_refused(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, tmp_path / "guard")
    file = tmp_path / "guard" / "model.safetensors"
    weights = {name: weight for name, weight in load_file(file).items() if "mlp" not in name}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="6 missing from the file"):
        list(LocalModel(str(tmp_path / "guard")).answers(PROMPTS, 5))


def test_pickled_weights_are_refused_before_anything_is_generated(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "guard")
    (tmp_path / "guard" / "model.safetensors").rename(tmp_path / "guard" / "pytorch_model.bin")
    judge = ModelJudge(GUARDS["harmbench"], LocalModel(str(tmp_path / "guard")), 9)
    with pytest.raises(UserError, match=r"judge harmbench: .* has no \*\.safetensors"):
        judge.check_reachable()
