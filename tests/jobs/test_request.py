"""A command line's words go to the sweep, the training or the evaluation; a card changes the keys that it names."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from cada_trl.config import CONF_DIR, Config, load_config
from cada_trl.config.loading import described, groups, leaf_paths
from cada_trl.errors import UserError
from cada_trl.jobs.grid import make_grid
from cada_trl.jobs.request import CARD_DIR, SweepConfig, load_card, read_request
from cada_trl.tracking.metrics import METRICS

CARDS = described(CARD_DIR)


def test_words_are_sorted_and_an_evaluations_lose_their_prefix() -> None:
    request = read_request(["beta_kl=0,1", "evaluate=quick", "jobs=2", "evaluate.attacks=none,pair", "--dry-run"])
    assert request.training == ("beta_kl=0,1",)
    assert request.evaluation == ("suite=quick", "attacks=none,pair")
    assert (request.config.jobs, request.dry_run, request.retry) == (2, True, False)
    assert read_request(["beta_kl=0,1"]).evaluation is None
    assert [read_request([f"launcher={x}"]).config.submit for x in ("slurm", "slurm_array")] == ["slurm", "slurm_array"]
    assert read_request(["launcher=accelerate"]).training == ("launcher=accelerate",)


def test_no_key_of_the_sweep_is_a_key_of_the_training() -> None:
    assert set(leaf_paths(SweepConfig)).isdisjoint({*leaf_paths(Config), *groups(CONF_DIR, "config")})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--retri", "unknown flag --retri; did you mean --retry"),
        ("evaluate=quik", "evaluate=quik: no such suite; did you mean quick"),
        ("jobs=0", "jobs=0: Input should be greater than or equal to 1"),
        ("evaluate.limit=3", "evaluate.limit=3 needs an evaluation"),
        ("submit=elsewhere", "submit='elsewhere'"),
        ("evaluate=quick evaluate.model=llama3", "a sweep evaluates its own models"),
        ("ablation=learnon", "ablation=learnon: no such card; did you mean learn_on"),
    ],
)
def test_a_wrong_word_is_refused_with_what_is_right(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_request(words.split())


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
    assert re.findall(r"^\| `(\w+)` \| .*\?", page, re.MULTILINE) == CARDS
    for name in CARDS:
        assert load_card(name).question in page


@pytest.mark.parametrize("name", CARDS)
def test_a_card_asks_a_question_and_changes_the_keys_that_it_names_and_no_other(name: str) -> None:
    card = load_card(name)
    assert card.question.endswith("?") and card.expected.endswith(".") and card.paper
    assert {*card.metrics} <= {"asr", "nrr", *METRICS}
    cells = make_grid(card.overrides)
    assert len(cells) > 1
    changed = {key for cell in cells for key, value in flat(cell.config).items() if value != default()[key]}
    assert changed == set(card.changes)


def test_the_users_words_come_after_the_cards() -> None:
    cells = make_grid(read_request(["beta_kl=0.5,1.0", "ablation=kl"]).training)
    assert [cell.config.algo.beta_kl for cell in cells] == [0.5, 1.0]
