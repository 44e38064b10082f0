"""What a judge sees of an attempt and its completion: named, with one default, and never a special token."""

from __future__ import annotations

import re
from typing import Literal

from cada_trl.prompting.reasoning import split_reasoning

JudgeSees = Literal["final_response", "completion", "completion_and_prompt"]

# <|im_end|> and its like in ChatML, Llama 3 and SmolLM2; <s> and its like in Llama 2 and Mistral
_SPECIAL_TOKEN = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>|</?s>|<unk>|<pad>")


def without_special_tokens(text: str) -> str:
    """The text without tokens that a chat template writes (ours: a closed pattern, whatever the tokenizer)."""
    while (clean := _SPECIAL_TOKEN.sub("", text)) != text:  # taking one out can join the halves of another
        text = clean
    return text


def shown_pair(sees: JudgeSees, request: str, prompt: str, completion: str) -> tuple[str, str]:
    """The (request, response) that a judge gets of one attempt.

    final_response: the original request and what follows the last header, as in the paper; the attack's prompt is never
    shown, since its story would colour the verdict. completion: the analysis too. completion_and_prompt: the analysis,
    and the prompt after the attack instead of the request.
    """
    clean = without_special_tokens(completion)
    if sees == "final_response":
        return request, split_reasoning(clean).final_response
    return (prompt if sees == "completion_and_prompt" else request), clean.strip()
