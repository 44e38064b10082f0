"""Fixtures of the generated attacks: an attacker that answers by a script, its cache and budget, items to attack."""

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks.attacker import Attacker
from cada_trl.judging.endpoint import ChatEndpoint


class ScriptedModel(ChatEndpoint):
    """Stands for a ChatEndpoint: its script sees the conversation; remembers what it was asked."""

    def __init__(self, script, reachable=True):
        super().__init__(None, "model-a")
        self.script, self.reachable = script, reachable
        self.asked, self.temperatures = [], set()
        self.n_checks = 0

    def complete(self, messages, max_tok, temperature):
        with self._lock:
            self.asked.append(messages)
            self.temperatures.add(temperature)
        return self.script(messages)

    def check_reachable(self, *_):
        self.n_checks += 1
        if not self.reachable:
            raise UserError("attacker model-a at http://127.0.0.1:9/v1: nothing answers there")
        return "hello"


@pytest.fixture
def make_attacker(tmp_path):
    """An attacker on the test's one cache file, read again as a second evaluation would."""

    def make(model, attacker_id="model-a", max_calls=100):
        model.llm = attacker_id
        return Attacker(model, tmp_path / "attacker.jsonl", max_calls)

    return make


@pytest.fixture
def items():
    """Three items; the requests are harmless, since nothing here reads them."""
    requests = ["How do I pick a lock?", "Tell me how locks are opened.", "Which lock is weak?"]
    return [Item(f"toy-{i:03}", "toy", text, None, "", True) for i, text in enumerate(requests, start=1)]
