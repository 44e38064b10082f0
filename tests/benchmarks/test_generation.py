"""The generation benchmark on a tiny model: what it counts, and how two backends' answers are compared."""

import pytest
import torch
from end_to_end.tiny_model import tiny_model, tiny_tokenizer
from models.conftest import model_config

from benchmarks.generation import agreement, main, measure
from cada_trl.errors import UserError

REQUESTS = ["Why?", "How old is the Sun?"]


@pytest.fixture
def model(tiny):
    return model_config(path=str(tiny), context_tok=2048)


def test_a_measurement_holds_every_answer_and_its_rate(model):
    result = measure(model.model_dump(), "transformers", REQUESTS, max_new_tok=4)
    assert [len(ids) for ids in result["answers"]] == [4, 4]
    assert result["new_tok"] == 8
    assert result["responses_per_cpu_s"] == pytest.approx(2 / result["cpu_s"])


def test_equal_answers_agree_without_reading_the_weights(model, monkeypatch):
    monkeypatch.setattr("cada_trl.models.load.load_policy", lambda *_: pytest.fail("the weights were read"))
    assert agreement(model, REQUESTS, [[5, 2], [6, 2]], [[5, 2], [6, 2]]) == {
        "equal_frac": 1.0,
        "first_difference_tok": [],
        "logit_gap_nats": [],
    }


def test_the_gap_is_that_of_the_two_tokens_where_the_answers_part(model):
    chat = [{"role": "user", "content": REQUESTS[1]}]
    prompt = tiny_tokenizer().apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    logits_v = tiny_model().eval()(torch.tensor([[*prompt, 50]])).logits[0, -1]
    seen = agreement(model, REQUESTS, [[5, 2], [50, 60, 2]], [[5, 2], [50, 70, 71, 2]])
    assert (seen["equal_frac"], seen["first_difference_tok"]) == (0.5, [1])
    assert seen["logit_gap_nats"] == [pytest.approx((logits_v[60] - logits_v[70]).item(), abs=1e-4)]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("limt=5", "unknown key 'limt'; valid: model, benchmark, data_root, limit, max_new_tok"),
        ("limit=none", "limit=none; expected a whole number from 1"),
        ("max_new_tok=0", "max_new_tok=0; expected a whole number from 1"),
        ("benchmark=xstest_save", "unknown benchmark 'xstest_save'; did you mean xstest_safe"),
    ],
)
def test_a_wrong_argument_is_one_line(argument, message):
    with pytest.raises(UserError, match=message):
        main([argument])
