"""judging.sees: what a judge gets, by name."""

from __future__ import annotations

import pytest

from cada_trl.judging.judge import JudgeSees, shown_pair, without_special_tokens

COMPLETION = "### Analysis\nBread is fine.\n### Final Response\nKnead, rest, bake.<|im_end|>"


@pytest.mark.parametrize(
    ("sees", "pair"),
    [
        ("final_response", ("Bake bread", "Knead, rest, bake.")),
        ("completion", ("Bake bread", COMPLETION.removesuffix("<|im_end|>"))),
        ("completion_and_prompt", ("You are a baker. Bake bread", COMPLETION.removesuffix("<|im_end|>"))),
    ],
)
def test_the_prompt_after_the_attack_is_shown_by_name_only(sees: JudgeSees, pair: tuple[str, str]) -> None:
    assert shown_pair(sees, "Bake bread", "You are a baker. Bake bread", COMPLETION) == pair


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "<|eot_id|>", "<|start_header_id|><|end_header_id|>", "<s></s>", "<|im_<s>end|>", "<unk>"]
)
def test_special_tokens_are_taken_out_whole_or_nested(text: str) -> None:
    assert without_special_tokens(f"a{text}b") == "ab"


@pytest.mark.parametrize("text", ["a < b | c > d", "<strong>no</strong>", "x <| y |> z", "<policy>"])
def test_other_text_stays(text: str) -> None:
    assert without_special_tokens(text) == text


def test_a_completion_of_an_end_token_alone_is_empty() -> None:
    assert shown_pair("final_response", "q", "q", "<|im_end|>") == ("q", "")
