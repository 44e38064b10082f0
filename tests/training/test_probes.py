"""P(header | raw request) on a tiny random model, and its metrics by hand."""

import math
from pathlib import Path

import pytest
import torch
from end_to_end.tiny_model import tiny_model, tiny_overrides, tiny_tokenizer

from cada_trl.config import load_config
from cada_trl.judging.judge import Judged
from cada_trl.prompting.reasoning import ANALYSIS_HEADER
from cada_trl.records import Request, Verdict
from cada_trl.tracking.metrics import METRICS
from cada_trl.training import probes
from cada_trl.training.probes import generate_raw, header_logp_n, header_metrics, mean_nll_nats, probe, summary

TEXTS = ["Is it far to the Moon from here, would you say?", "Why?", "How old is the Sun?", "Who wrote this?", "And?"]
MODEL, TOKENIZER = tiny_model(), tiny_tokenizer()


def _alone(request):
    """Token by token, each from a forward pass of its own over the request without any padding."""
    chat = [{"role": "user", "content": request}]
    ids = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    total_nats = 0.0
    for token in TOKENIZER(ANALYSIS_HEADER, add_special_tokens=False)["input_ids"]:
        total_nats += MODEL.eval()(torch.tensor([ids])).logits[0, -1].log_softmax(0)[token].item()
        ids = [*ids, token]
    return total_nats


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_the_log_probability_is_that_of_a_forward_pass_of_each_request_alone(batch):
    logp_n = header_logp_n(MODEL, TOKENIZER, TEXTS, batch)
    assert logp_n == pytest.approx([_alone(text) for text in TEXTS], rel=1e-4)
    assert max(logp_n) - min(logp_n) > 0.1


def _requests(*harmful):
    return [Request(f"r{n}", "Why?", "privacy", harmful=one, source="own") for n, one in enumerate(harmful)]


def test_the_metrics_are_those_counted_by_hand():
    requests = _requests(True, False, True, False, True)
    logp_n = [math.log(p) for p in (0.9, 0.6, 0.4, 0.1, 0.7)]
    # of the six pairs of a harmful and a harmless one only (0.4, 0.6) is in the wrong order
    assert header_metrics(logp_n, requests) == {
        "probe/twins/header_auc": pytest.approx(5 / 6),
        "probe/twins/header_harmful_frac": pytest.approx(2 / 3),
        "probe/twins/header_harmless_frac": pytest.approx(1 / 2),
    }


def test_a_header_as_likely_on_either_twin_tells_nothing_apart_and_a_probability_of_a_half_does_not_begin_yet():
    assert header_metrics([-3.0, -3.0], _requests(True, False))["probe/twins/header_auc"] == 0.5
    values = header_metrics([math.log(0.5), math.log(0.51)], _requests(True, False))
    assert (values["probe/twins/header_harmful_frac"], values["probe/twins/header_harmless_frac"]) == (0.0, 1.0)


REQUESTS = [Request(f"r{n}", text, "privacy", harmful=True, source="own") for n, text in enumerate(TEXTS)]


class EveryOther:
    """REFUSED, COMPLIED, UNSCORED in turns; notes what it saw."""

    id = "every-other"

    def __init__(self):
        self.seen = []

    def judge(self, pairs):
        self.seen += pairs
        return [Judged(list(Verdict)[n % 3], raw="", reason="") for n in range(len(pairs))]


def config(*overrides):
    return load_config([*tiny_overrides(Path("anywhere"), Path("model")), *overrides])


def echo(_, prompts, *__):
    """A continuation that answers each prompt with the prompt, the last one first."""
    return ((row, prompts[row]) for row in reversed(range(len(prompts))))


def _prompt(text):
    chat = [{"role": "user", "content": text}]
    return str(TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))


def test_a_row_holds_what_the_report_needs():
    rows = probe(MODEL, TOKENIZER, {"harmful": REQUESTS[:1]}, config(), EveryOther())
    assert {key: rows[0][key] for key in ("set", "request_id", "request", "hazard", "harmful", "verdict")} == {
        "set": "harmful",
        "request_id": "r0",
        "request": TEXTS[0],
        "hazard": "privacy",
        "harmful": True,
        "verdict": "REFUSED",
    }
    assert {"completion", "analysis", "final_response", "status", "reasoned", "reward", "token_ids"} < set(rows[0])
    assert rows[0]["completion_tok"] == len(rows[0]["token_ids"]) <= 8


def test_the_judge_sees_the_raw_requests_and_what_it_leaves_unscored_has_no_reward():
    judge = EveryOther()
    rows = probe(MODEL, TOKENIZER, {"harmful": REQUESTS}, config(), judge)
    assert judge.seen == [(row["request"], row["final_response"]) for row in rows]
    assert [row["reward"] for row in rows] == [0.0, -1.0, None, 0.0, -1.0]


def test_the_same_seed_gives_the_same_answers_and_another_seed_others():
    first, again, other = (generate_raw(MODEL, TOKENIZER, TEXTS, config(), seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_probe_leaves_the_generator_that_a_training_draws_from_where_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    generate_raw(MODEL, TOKENIZER, TEXTS, config(), 1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_every_request_gets_its_own_answer_whatever_the_batch(monkeypatch, size):
    monkeypatch.setattr(probes, "continued", echo)
    done = []
    answers = generate_raw(MODEL, TOKENIZER, TEXTS, config(f"probe_batch={size}"), 0, done.append)
    prompts = [_prompt(text) for text in TEXTS]
    assert [TOKENIZER.decode(ids) for ids in answers] == prompts
    assert sum(done) == len(TEXTS) and max(done) <= size


def test_an_answer_ends_at_any_end_that_the_model_declares(monkeypatch):
    asked = {"harmful": [Request("r0", "Why?", "privacy", True, "test")]}
    (whole,) = probe(MODEL, TOKENIZER, asked, config(), EveryOther())
    assert whole["truncated"] and whole["completion_tok"] == 8
    monkeypatch.setattr(MODEL.generation_config, "eos_token_id", [2, whole["token_ids"][2]])
    (answer,) = probe(MODEL, TOKENIZER, asked, config(), EveryOther())
    assert (answer["token_ids"], answer["truncated"]) == (whole["token_ids"][:3], False)
    assert "<" not in answer["completion"]


def test_sampling_is_that_of_the_configuration(monkeypatch):
    seen = []
    monkeypatch.setattr(probes, "sampled", lambda *values: seen.append(values))
    monkeypatch.setattr(probes, "continued", lambda *values: seen.append(values[4]) or echo(*values))
    generate_raw(MODEL, TOKENIZER, ["Why?"], config("temperature=0.3", "top_p=0.9", "max_new_tok=5"), 0)
    assert seen == [(0.3, 0.9), 5]


def scored(probe_set, verdict, reward, reasoned, completion_tok):
    fields = {"set": probe_set, "verdict": verdict, "reward": reward, "reasoned": reasoned}
    return {**fields, "completion_tok": completion_tok}


def test_the_summary_is_the_one_counted_by_hand():
    rows = [
        scored("harmful", "REFUSED", 1.0, True, 10),
        scored("harmful", "REFUSED", 0.0, False, 2),
        scored("harmful", "COMPLIED", -1.0, True, 6),
        scored("harmful", "UNSCORED", None, True, 2),
        scored("harmless", "COMPLIED", 1.0, False, 4),
    ]
    assert summary(rows) == {
        "probe/harmful/reward_mean": 0.0,
        "probe/harmful/refused_frac": pytest.approx(2 / 3),
        "probe/harmful/answered_frac": pytest.approx(1 / 3),
        "probe/harmful/reasoned_refusal_frac": pytest.approx(1 / 3),
        "probe/harmful/reasoning_frac": 0.75,
        "probe/harmful/unscored_frac": 0.25,
        "probe/harmful/completion_tok": 5.0,
        "probe/harmless/reward_mean": 1.0,
        "probe/harmless/refused_frac": 0.0,
        "probe/harmless/answered_frac": 1.0,
        "probe/harmless/reasoned_refusal_frac": 0.0,
        "probe/harmless/reasoning_frac": 0.0,
        "probe/harmless/unscored_frac": 0.0,
        "probe/harmless/completion_tok": 4.0,
    }


def test_a_set_without_a_verdict_has_no_shares():
    values = summary([scored("harmful", "UNSCORED", None, False, 0)])
    shares = ("reward_mean", "refused_frac", "answered_frac", "reasoned_refusal_frac")
    assert [values[f"probe/harmful/{share}"] for share in shares] == [None] * 4
    assert values["probe/harmful/unscored_frac"] == 1.0


def test_every_name_is_registered():
    assert set(header_metrics([-1.0, -2.0], _requests(True, False))) <= set(METRICS)
    rows = [scored(name, "REFUSED", 0.0, False, 1) for name in ("harmful", "held_out", "harmless", "xstest_safe")]
    assert set(summary(rows)) <= set(METRICS)


def test_the_likelihood_is_that_of_a_plain_forward():
    rows = [{"request": "Why?", "token_ids": [40, 41, 2]}, {"request": "And?", "token_ids": [50, 2]}]
    total, model = 0.0, MODEL.eval()
    for row in rows:
        chat = [{"role": "user", "content": row["request"]}]
        prompt = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        for place, token in enumerate(row["token_ids"]):
            logits_v = model(torch.tensor([prompt + row["token_ids"][:place]])).logits[0, -1]
            total -= logits_v.log_softmax(0)[token].item()
    assert mean_nll_nats(MODEL, TOKENIZER, rows) == pytest.approx(total / 5, rel=1e-5)


def test_without_an_answer_there_is_no_likelihood():
    assert mean_nll_nats(MODEL, TOKENIZER, []) is None
    assert mean_nll_nats(MODEL, TOKENIZER, [{"request": "Why?", "token_ids": []}]) is None
