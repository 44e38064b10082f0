"""Each check is shown a tokenizer that passes it and one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.models.checks import check_tokenizer, template_hash

from .conftest import TEMPLATE, model_config, tiny_tokenizer


def facts_of(template: str = TEMPLATE, **changes: Any) -> str:
    return "\n".join(check_tokenizer(tiny_tokenizer(template), model_config(**changes)))


def test_a_sound_tokenizer_yields_facts() -> None:
    facts = facts_of()
    assert "1 BOS at the start of a rendered chat" in facts
    assert "an assistant turn ends with '<eot>'" in facts
    assert "the generation prompt is 'assistant: '" in facts
    assert "differs from eos" in facts


def test_a_second_bos_from_tokenising_a_rendered_chat_is_told() -> None:
    assert "adds a BOS: pass add_special_tokens=False" in facts_of()
    without = "\n".join(check_tokenizer(tiny_tokenizer(adds_bos=False), model_config()))
    assert "adds a BOS" not in without


def test_a_template_without_bos_is_told() -> None:
    assert "0 BOS at the start" in facts_of(TEMPLATE.replace("{{ '<bos>' }}", ""))


def test_a_template_that_writes_two_bos_is_refused() -> None:
    with pytest.raises(UserError, match="writes 2 BOS"):
        facts_of("{{ '<bos>' }}" + TEMPLATE)


def test_a_bos_that_marks_every_turn_counts_once() -> None:
    chatml = (
        "{% for m in messages %}{{ '<bos>' + m['role'] + ': ' + m['content'] + '<eot>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<bos>assistant: ' }}{% endif %}"
    )
    assert "1 BOS at the start" in facts_of(chatml)


def test_a_template_that_never_writes_the_eos_is_refused() -> None:
    with pytest.raises(UserError, match=r"ends an assistant turn with ''; expected model\.eos=<eot>"):
        facts_of(TEMPLATE.replace(" + '<eot>'", ""))


def test_an_eos_that_decoding_keeps_is_refused() -> None:
    tokenizer = tiny_tokenizer(TEMPLATE.replace("<eot>", "km"))
    tokenizer.eos_token = "km"
    tokenizer.decode = lambda ids, skip_special_tokens: "km"
    with pytest.raises(UserError, match="km is no special token"):
        check_tokenizer(tokenizer, model_config(eos="km"))


@pytest.mark.parametrize("tag", ["<think>", "<reasoning>", "[THINK]"])
def test_a_prefilled_reasoning_tag_is_refused_by_name(tag: str) -> None:
    with pytest.raises(UserError) as error:
        facts_of(TEMPLATE.replace("'assistant: '", f"'assistant: {tag}'"))
    assert f"prefills {tag}" in str(error.value)


def test_a_template_without_generation_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="adds no generation prompt"):
        facts_of(TEMPLATE.replace("'assistant: '", "''"))


def test_pad_equal_to_eos_is_told() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "<eot>"
    assert "masks come from lengths" in "\n".join(check_tokenizer(tokenizer, model_config(pad="<eot>")))


def test_a_pad_other_than_the_config_s_is_refused() -> None:
    with pytest.raises(UserError, match=r"pad token is '<pad>', expected model\.pad='<eot>'"):
        facts_of(pad="<eot>")


def test_the_template_hash_follows_the_template_alone() -> None:
    one, same, other = tiny_tokenizer(), tiny_tokenizer(adds_bos=False), tiny_tokenizer(TEMPLATE + " ")
    assert template_hash(one) == template_hash(same) != template_hash(other)
    assert len(template_hash(one)) == 8
