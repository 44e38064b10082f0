from __future__ import annotations

from cada_trl.evals.attacks.attack import NoAttack
from cada_trl.evals.items import Attempt, Item


def test_without_an_attack_every_request_is_sent_as_it_is() -> None:
    items = [Item(f"toy-{n}", "toy", f"Is it {n} o'clock?", None, "", harmful=False) for n in (1, 2)]
    attacked = NoAttack().attempts(items)
    assert attacked.attempts == [Attempt(item, "none", item.request, "") for item in items]
    assert attacked.missing == {}
