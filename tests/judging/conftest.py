"""Fixtures of the judges' tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def judge_config() -> dict[str, object]:
    """The keys of JudgeConfig with the phrase judge's values."""
    return {
        "kind": "phrases",
        "base_url": None,
        "llm": None,
        "api_key_env": None,
        "timeout_s": 5.0,
        "max_retries": 2,
        "max_calls": 100,
    }
