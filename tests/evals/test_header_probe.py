"""P(header | raw request) on a tiny random model, and its metrics by hand."""

from __future__ import annotations

import math

import pytest
import torch
from end_to_end.tiny_model import tiny_model, tiny_tokenizer

from cada_trl.evals.header_probe import header_logp_n, header_metrics
from cada_trl.prompting.reasoning import ANALYSIS_HEADER
from cada_trl.records import Request
from cada_trl.tracking.metrics import METRICS

TEXTS = ["Is it far to the Moon from here, would you say?", "Why?", "How old is the Sun?", "Who wrote this?", "And?"]
MODEL, TOKENIZER = tiny_model(), tiny_tokenizer()


def _alone(request: str) -> float:
    """Token by token, each from a forward pass of its own over the request without any padding."""
    chat = [{"role": "user", "content": request}]
    ids = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    total_nats = 0.0
    for token in TOKENIZER(ANALYSIS_HEADER, add_special_tokens=False)["input_ids"]:
        total_nats += MODEL.eval()(torch.tensor([ids])).logits[0, -1].log_softmax(0)[token].item()
        ids = [*ids, token]
    return total_nats


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_the_log_probability_is_that_of_a_forward_pass_of_each_request_alone(batch: int) -> None:
    logp_n = header_logp_n(MODEL, TOKENIZER, TEXTS, batch)
    assert logp_n == pytest.approx([_alone(text) for text in TEXTS], rel=1e-4)
    assert max(logp_n) - min(logp_n) > 0.1


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_that_it_was_in(training: bool) -> None:
    MODEL.train(training)
    header_logp_n(MODEL, TOKENIZER, TEXTS[:1], 8)
    assert MODEL.training is training


def _requests(*harmful: bool) -> list[Request]:
    return [Request(f"r{n}", "Why?", "privacy", harmful=one, source="own") for n, one in enumerate(harmful)]


def test_the_metrics_are_those_counted_by_hand() -> None:
    requests = _requests(True, False, True, False, True)
    logp_n = [math.log(p) for p in (0.9, 0.6, 0.4, 0.1, 0.7)]
    # of the six pairs of a harmful and a harmless one only (0.4, 0.6) is in the wrong order
    assert header_metrics(logp_n, requests) == {
        "probe/twins/header_auc": pytest.approx(5 / 6),
        "probe/twins/header_harmful_frac": pytest.approx(2 / 3),
        "probe/twins/header_harmless_frac": pytest.approx(1 / 2),
    }


def test_a_header_as_likely_on_either_twin_tells_nothing_apart() -> None:
    assert header_metrics([-3.0, -3.0], _requests(True, False))["probe/twins/header_auc"] == 0.5


def test_a_probability_of_a_half_does_not_begin_yet() -> None:
    values = header_metrics([math.log(0.5), math.log(0.51)], _requests(True, False))
    assert (values["probe/twins/header_harmful_frac"], values["probe/twins/header_harmless_frac"]) == (0.0, 1.0)


def test_every_name_is_registered() -> None:
    assert set(header_metrics([-1.0, -2.0], _requests(True, False))) <= set(METRICS)
