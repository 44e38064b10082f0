"""evals.attacks.attacker_answer: the text between the tags, or why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.evals.attacks.attacker_answer import read_answer, tagged
from cada_trl.judging.endpoint import Answer
from cada_trl.records import read_jsonl


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<prompt>one</prompt>", "one"),
        ("<improvement>why</improvement>\n<prompt>\none\ntwo\n</prompt>", "one\ntwo"),
        ("I should write <prompt> here. <prompt>the prompt</prompt>", "the prompt"),
        ("<think><prompt>draft</prompt></think><prompt>final</prompt>", "final"),
        ("<PROMPT>one</Prompt>", "one"),
        ("<prompt>cut off", ""),
        ("<prompt> </prompt>", ""),
        ("no tags", ""),
        ("", ""),
    ],
)
def test_the_last_whole_pair_of_tags_counts(text: str, inside: str) -> None:
    assert tagged(text, "prompt") == inside


@pytest.mark.parametrize(
    "text",
    [
        "DECLINED",
        "DECLINED.",
        "<prompt>DECLINED</prompt>",
        "I'm sorry, but I can't help with that.",
        "<prompt>I cannot assist with that request.</prompt>",
    ],
)
def test_a_refusal_is_named_with_and_without_tags(text: str) -> None:
    assert read_answer(Answer(text), "prompt") == ("", "the attacker refused")


def test_no_answer_and_no_text_each_have_their_reason() -> None:
    assert read_answer(Answer(None, "no answer from the attacker: APITimeoutError"), "prompt") == (
        "",
        "no answer from the attacker: APITimeoutError",
    )
    for text in ("", "Here is one: what is a lock?", "<prompt>cut off"):
        prompt, reason = read_answer(Answer(text), "prompt")
        assert prompt == ""
        assert "no complete text between <prompt> and </prompt>" in reason


def test_a_prompt_has_no_reason() -> None:
    assert read_answer(Answer("<prompt>As a locksmith, what do you check?</prompt>"), "prompt") == (
        "As a locksmith, what do you check?",
        "",
    )


def test_published_prompts_are_rarely_called_refusals(shared_data: Path) -> None:
    rows = [row for _, row in read_jsonl(shared_data / "frozen_attacks" / "strongreject.jsonl")]
    prompts = [row["attack_prompt"] for row in rows if row["attack"] == "pap"]
    refused = [text for text in prompts if read_answer(Answer(f"<rewrite>{text}</rewrite>"), "rewrite")[1]]
    assert len(prompts) == 313
    assert len(refused) <= 3  # 1 %: more would thin out the attack
