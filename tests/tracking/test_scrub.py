from __future__ import annotations

import pytest

from cada_trl.tracking.scrub import scrub

# Put together here, so that no scanner takes these made-up values for real keys.
FAKE = "a1B2" * 8


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + FAKE,
        "sk-" + FAKE,
        "sk-proj-" + FAKE,
        f"api_key={FAKE}",
        f"Authorization: Bearer {FAKE}",
        f"https://user:{FAKE}@host/v1",
        f"https://host/v1?token={FAKE}&x=1",
        f"https://host/{'0a' * 20}/v1",
    ],
)
def test_what_looks_like_a_key_is_hidden_at_any_depth(text: str) -> None:
    result = str(scrub({"a": [{"b": ("--x", text)}]}))
    assert FAKE not in result
    assert "0a" * 20 not in result
    assert "<hidden>" in result


@pytest.mark.parametrize(
    "text",
    [
        "api_key_env=OPENAI_API_KEY",
        "0843699154563f3a4b2e1f7e2febec34a4e0833b",
        "max_prompt_tok=256",
        "http://localhost:8000/v1",
        "task-based learning, risk-averse",
    ],
)
def test_names_commits_and_plain_addresses_stay(text: str) -> None:
    assert scrub([text]) == [text]
