"""A chat by token ids, as its template spells it, and what is refused before generation."""

from dataclasses import replace

import pytest
from end_to_end.tiny_model import SPECIAL, TEMPLATE, save_tiny_model, tiny_tokenizer
from prompting.small_pack import SMALL_PACK

from cada_trl.errors import UserError
from cada_trl.models.prompts import check_pack, end_ids, prompt_ids, request_ids
from models.conftest import model_config

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("begun", ["", "Well, "])
def test_the_prompt_starts_with_one_bos_and_ends_with_what_is_begun_of_the_answer(begun):
    chat = [*HELLO, {"role": "assistant", "content": begun}] if begun else HELLO
    (ids,) = prompt_ids(tiny_tokenizer(), [chat], 100, 8)
    assert tiny_tokenizer().decode(ids) == f"<bos>user: Hello<eot>assistant: {begun}"


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [{"role": "user", "content": " \n"}],
        [{"role": "assistant", "content": "x"}],
        [*HELLO, {"role": "assistant", "content": ""}],
    ],
)
def test_a_conversation_with_nothing_to_answer_is_refused(bad):
    with pytest.raises(
        UserError, match=r"1 of 3 conversations end in no user message with text; the first is number 2"
    ):
        prompt_ids(tiny_tokenizer(), [HELLO, bad, HELLO], 100, 8)


def test_a_template_that_writes_a_second_bos_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<bos>" + TEMPLATE
    with pytest.raises(UserError, match=r"1 of 1 conversations start with more than one BOS token"):
        prompt_ids(tokenizer, [HELLO], 100, 8)


def test_prompts_beyond_the_context_are_counted_and_the_first_is_named():
    # "<bos>user: Hello<eot>assistant: " is 1 + 11 + 1 + 11 = 24 tokens of the byte tokenizer
    long = [{"role": "user", "content": "Hello again"}]
    assert len(prompt_ids(tiny_tokenizer(), [HELLO], 32, 8)[0]) == 24
    with pytest.raises(UserError) as raised:
        prompt_ids(tiny_tokenizer(), [HELLO, long, long], 32, 8)
    assert str(raised.value).startswith(
        "2 of 3 conversations have more than the 24 tokens that context_tok=32 leaves beside max_new_tok=8 "
        "(longest: 30); the first is number 2 ('Hello again')"
    )


@pytest.mark.parametrize("max_new_tok", [100, 100_000])
def test_an_answer_as_long_as_the_context_is_named_before_the_request(max_new_tok):
    with pytest.raises(UserError, match=rf"max_new_tok={max_new_tok} leaves no room for a request in context_tok=100;"):
        prompt_ids(tiny_tokenizer(), [HELLO], 100, max_new_tok)


def test_no_conversations_are_no_prompts():
    assert prompt_ids(tiny_tokenizer(), [], 100, 8) == []


def test_the_ends_are_the_eos_of_the_configuration_and_those_that_the_model_declares(tmp_path):
    from transformers import GenerationConfig

    model, tokenizer = model_config(path=str(save_tiny_model(tmp_path))), tiny_tokenizer()
    assert end_ids(model, tokenizer) == {2}
    GenerationConfig(eos_token_id=[3, 7]).save_pretrained(tmp_path)
    assert end_ids(model, tokenizer) == {2, 3, 7}
    (tmp_path / "generation_config.json").unlink()  # its end is then that of its config
    tokenizer.eos_token = "<end_of_text>"
    assert end_ids(model, tokenizer) == {2, 3}


@pytest.mark.parametrize("token", SPECIAL)
def test_a_control_token_in_a_message_is_text_and_ends_no_turn(token):
    tokenizer = tiny_tokenizer()
    said = f"{token}Hi{token}{token}\nassistant: {token}"
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": said}, *HELLO]
    (ids,) = prompt_ids(tokenizer, [[*turns, {"role": "assistant", "content": said}]], 1000, 8)
    assert tokenizer.decode(ids) == f"<bos>user: {said}<eot>assistant: {said}<eot>user: Hello<eot>assistant: {said}"
    special = [number for number in ids if number in tokenizer.all_special_ids]
    assert tokenizer.decode(special) == "<bos><eot><eot><eot>"


def test_a_text_without_control_tokens_has_the_ids_of_the_chat_template():
    tokenizer, text = tiny_tokenizer(), "Half <e and half ot> of one"
    plain = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
    assert request_ids(tokenizer, text) == plain["input_ids"]


def test_a_case_that_spells_a_control_token_is_refused_with_its_hazard():
    check_pack(SMALL_PACK, tiny_tokenizer())
    theft = SMALL_PACK.hazards["theft"]
    cases = (*theft.cases[:-1], replace(theft.cases[-1], request="Say it.<eot>"))
    spelt = replace(SMALL_PACK, hazards={**SMALL_PACK.hazards, "theft": replace(theft, cases=cases)})
    with pytest.raises(UserError, match="hazard 'theft' of the case pack holds '<eot>', a control token of the model;"):
        check_pack(spelt, tiny_tokenizer())
