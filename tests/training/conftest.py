"""Fixtures of the trainer tests."""

from __future__ import annotations

import pytest

from .tiny import tiny_llama, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model saved, since TRL loads the reference from the policy's own folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)
