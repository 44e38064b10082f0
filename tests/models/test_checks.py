"""Each check is shown a tokenizer that passes it and one that does not."""

import re

import pytest
from transformers import AutoConfig

from cada_trl.errors import UserError
from cada_trl.models.checks import check_architecture, check_keeps_reasoning, check_tokenizer, template_hash

from .conftest import TEMPLATE, model_config, tiny_tokenizer

TAGS = ("<think>", "<reasoning>", "[THINK]")
CHATML = (
    "{% for m in messages %}{{ '<bos>' + m['role'] + ': ' + m['content'] + '<eot>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<bos>assistant: ' }}{% endif %}"
)


def facts_of(template):
    return "\n".join(check_tokenizer(tiny_tokenizer(template), model_config()))


@pytest.mark.parametrize(
    ("template", "fact"),
    [
        (TEMPLATE, "1 BOS at the start of a rendered chat"),
        (TEMPLATE, "an assistant turn ends with '<eot>'"),
        (TEMPLATE, "the generation prompt is 'assistant: '"),
        (TEMPLATE, "differs from eos"),
        (TEMPLATE, "adds a BOS: pass add_special_tokens=False"),
        (TEMPLATE.replace("{{ '<bos>' }}", ""), "0 BOS at the start"),
        (CHATML, "1 BOS at the start"),  # a BOS that marks every turn counts once
    ],
)
def test_what_a_sound_tokenizer_does_is_told(template, fact):
    assert fact in facts_of(template)


def test_a_tokenizer_that_adds_no_bos_and_one_whose_pad_is_its_eos_are_told_apart():
    without = "\n".join(check_tokenizer(tiny_tokenizer(adds_bos=False), model_config()))
    assert "adds a BOS" not in without and "masks come from lengths" not in without
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "<eot>"
    assert "masks come from lengths" in "\n".join(check_tokenizer(tokenizer, model_config(pad="<eot>")))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ '<bos>' }}" + TEMPLATE, "writes 2 BOS"),
        (TEMPLATE.replace(" + '<eot>'", ""), r"ends an assistant turn with ''; expected model\.eos=<eot>"),
        *((TEMPLATE.replace("'assistant: '", f"'assistant: {tag}'"), f"prefills {re.escape(tag)}") for tag in TAGS),
        (TEMPLATE.replace("'assistant: '", "''"), "adds no generation prompt"),
    ],
)
def test_what_training_cannot_use_is_refused(template, message):
    with pytest.raises(UserError, match=message):
        facts_of(template)


def test_an_eos_that_decoding_keeps_is_refused():
    tokenizer = tiny_tokenizer(TEMPLATE.replace("<eot>", "km"))
    tokenizer.eos_token = "km"
    tokenizer.decode = lambda ids, skip_special_tokens: "km"
    with pytest.raises(UserError, match="km is no special token"):
        check_tokenizer(tokenizer, model_config(eos="km"))


def test_the_template_hash_follows_the_template_alone():
    one, same, other = tiny_tokenizer(), tiny_tokenizer(adds_bos=False), tiny_tokenizer(TEMPLATE + " ")
    assert template_hash(one) == template_hash(same) != template_hash(other)
    assert len(template_hash(one)) == 8


def test_a_template_that_drops_the_thinking_of_an_answer_has_no_answers_for_dpo():
    check_keeps_reasoning(tiny_tokenizer())
    drops = TEMPLATE.replace("m['content'] +", "m['content'].split('</think>')[-1] +")
    assert drops != TEMPLATE
    with pytest.raises(UserError, match="leaves <think> out of the answers that DPO compares; take another method"):
        check_keeps_reasoning(tiny_tokenizer(drops))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lfm2", "attention of its own kind"),
        ("qwen3_next", "layers of linear_attention"),
        ("falcon_h1", "layers of hybrid"),
        ("jamba", "layers of linear_attention"),
        ("mpt", "attention of its own kind"),
    ],
)
def test_a_model_that_does_more_than_attend_to_keys_and_values_is_refused(kind, said):
    config = AutoConfig.for_model(kind)
    with pytest.raises(UserError, match=rf"^mine is a {kind}, with {said}, which is not supported here"):
        check_architecture(config, "mine")


@pytest.mark.parametrize(
    "kind", ["llama", "qwen2", "qwen3_moe", "mistral", "gemma3_text", "gpt_oss", "phi3", "deepseek_v3", "stablelm"]
)
def test_a_model_whose_layers_all_attend_is_taken(kind):
    check_architecture(AutoConfig.for_model(kind), "mine")
