"""An ablation card changes the keys that it names, all of them, and no other."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from cada_trl.config import Config, load_config
from cada_trl.errors import UserError
from cada_trl.sweeps.ablation import card_names, load_card
from cada_trl.sweeps.grid import make_grid
from cada_trl.tracking.metrics import METRICS


@functools.cache
def default() -> dict[str, Any]:
    return flat(load_config([]))


def flat(config: Config) -> dict[str, Any]:
    sections = config.model_dump()
    return {
        (f"{name}.{key}" if isinstance(values, dict) else name): value
        for name, values in sections.items()
        for key, value in (values.items() if isinstance(values, dict) else [(name, values)])
    }


def test_the_cards_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| .*\?", page, re.MULTILINE) == card_names()
    for name in card_names():
        assert load_card(name).question in page


@pytest.mark.parametrize("name", card_names())
def test_a_card_changes_the_keys_that_it_names_and_no_other(name: str) -> None:
    card = load_card(name)
    cells = make_grid(card.overrides)
    assert len(cells) > 1
    changed = {key for cell in cells for key, value in flat(cell.config).items() if value != default()[key]}
    assert changed == set(card.changes)


@pytest.mark.parametrize("name", card_names())
def test_a_card_has_an_axis_metrics_that_exist_and_says_what_it_asks(name: str) -> None:
    card = load_card(name)
    assert card.question.endswith("?") and card.expected.endswith(".") and card.paper
    assert [one for one in card.metrics if one not in {"asr", "nrr"} and one not in METRICS] == []


def test_the_users_words_come_after_the_cards() -> None:
    cells = make_grid([*load_card("kl").overrides, "beta_kl=0.5,1.0"])
    assert [cell.config.algo.beta_kl for cell in cells] == [0.5, 1.0]


def test_a_card_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="ablation=learnon: no such card; did you mean learn_on"):
        load_card("learnon")
