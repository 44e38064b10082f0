"""Fixtures of the generated attacks: an attacker with a cache and a budget, and items to attack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cada_trl.evals.attacks.attacker import Attacker
from cada_trl.evals.attacks.attacker_cache import AttackerCache
from cada_trl.evals.items import Item

from .scripted import ScriptedModel

MakeAttacker = Callable[..., Attacker]


@pytest.fixture
def make_attacker(tmp_path: Path) -> MakeAttacker:
    """An attacker on the test's one cache file, read again as a second evaluation would."""

    def make(model: ScriptedModel, attacker_id: str = "model-a", max_calls: int = 100) -> Attacker:
        return Attacker(model, attacker_id, AttackerCache(tmp_path / "attacker.jsonl"), max_calls)

    return make


@pytest.fixture
def items() -> list[Item]:
    """Three items; the requests are harmless, since nothing here reads them."""
    requests = ["How do I pick a lock?", "Tell me how locks are opened.", "Which lock is weak?"]
    return [Item(f"toy-{i:03}", "toy", text, None, "", True) for i, text in enumerate(requests, start=1)]
