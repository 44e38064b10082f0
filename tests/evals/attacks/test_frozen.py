"""Replays from a file of our own rows, and from the published files where they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.attacks.frozen import FrozenAttack
from cada_trl.evals.benchmarks import FrozenPrompts, load_items, load_spec
from cada_trl.evals.items import Item

WITH_VICTIMS = [
    {"attack": "PAIR", "goal": "Steal tea", "prompt": "p-weak", "target_model": "weak"},
    {"attack": "PAIR", "goal": "Steal tea", "prompt": "p-strong", "target_model": "strong"},
    {"attack": "PAIR", "goal": "Hide tea", "prompt": None, "target_model": "strong"},
    {"attack": "PAIR", "goal": "Hide tea", "prompt": "q-weak", "target_model": "weak"},
    {"attack": "PAIR", "goal": "Spill tea", "prompt": None, "target_model": "strong"},
    {"attack": "PAIR", "goal": "Spill tea", "prompt": "", "target_model": "weak"},
    {"attack": "PAIR", "goal": "Sell tea", "prompt": "r-other", "target_model": "not named"},
    {"attack": "JBC", "goal": "Steal tea", "prompt": "j", "target_model": "strong"},
    {"attack": "JBC", "goal": "Steal tea", "prompt": "j", "target_model": "weak"},
]
WITHOUT_VICTIMS = [
    {"attack": "pair", "request": "Steal tea", "attack_prompt": "A story about tea"},
    {"attack": "pap", "request": "Steal tea", "attack_prompt": "Steal tea"},
]


def frozen_of(folder: Path, rows: list[dict[str, Any]], columns: dict[str, Any], **changes: Any) -> FrozenPrompts:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    values = {"file": "prompts.jsonl", "sha256": sha256, "source": "https://example.org/x", "licence": "MIT"}
    return FrozenPrompts.model_validate(values | {"columns": columns} | changes)


@pytest.fixture
def with_victims(tmp_path: Path) -> FrozenPrompts:
    columns = {"attack": "attack", "request": "goal", "prompt": "prompt", "victim": "target_model"}
    return frozen_of(tmp_path, WITH_VICTIMS, columns, attacks={"pair": ["strong", "weak"], "jbc": []})


@pytest.fixture
def without_victims(tmp_path: Path) -> FrozenPrompts:
    columns = {"attack": "attack", "request": "request", "prompt": "attack_prompt", "victim": None}
    return frozen_of(tmp_path, WITHOUT_VICTIMS, columns, attacks={"pair": ["gpt-x"], "pap": []})


def items_of(*requests: str) -> list[Item]:
    return [Item(f"toy-{n}", "toy", request, None, "", True) for n, request in enumerate(requests)]


def test_the_preferred_victims_prompt_is_taken_and_the_next_ones_where_it_has_none(
    with_victims: FrozenPrompts, tmp_path: Path
) -> None:
    attacked = FrozenAttack("pair", with_victims, tmp_path).attempts(items_of("Steal tea", "Hide tea"))
    assert [(one.attack, one.prompt) for one in attacked.attempts] == [("pair", "p-strong"), ("pair", "q-weak")]
    assert attacked.attempts[1].note == "transfer, made against weak, https://example.org/x"
    assert attacked.missing == {}


def test_a_request_without_a_published_prompt_is_missing_with_its_reason(
    with_victims: FrozenPrompts, tmp_path: Path
) -> None:
    attacked = FrozenAttack("pair", with_victims, tmp_path).attempts(items_of("Spill tea", "steal tea", "Sell tea"))
    assert attacked.attempts == []
    assert attacked.missing == {
        "toy-0": "the published pair attack found no prompt for this request",
        "toy-1": "no published pair prompt for this wording of the request",
        "toy-2": "no published pair prompt for this wording of the request",
    }


def test_an_attack_without_victims_takes_the_prompt_of_any_row(with_victims: FrozenPrompts, tmp_path: Path) -> None:
    (attempt,) = FrozenAttack("jbc", with_victims, tmp_path).attempts(items_of("Steal tea")).attempts
    assert (attempt.prompt, attempt.note) == ("j", "transfer, made against no model, https://example.org/x")


def test_a_victim_that_the_file_does_not_name_comes_from_the_description(
    without_victims: FrozenPrompts, tmp_path: Path
) -> None:
    (attempt,) = FrozenAttack("pair", without_victims, tmp_path).attempts(items_of("Steal tea")).attempts
    assert (attempt.prompt, attempt.note) == (
        "A story about tea",
        "transfer, made against gpt-x, https://example.org/x",
    )


def test_a_published_prompt_that_is_the_request_is_sent_and_noted(
    without_victims: FrozenPrompts, tmp_path: Path
) -> None:
    attack = FrozenAttack("pap", without_victims, tmp_path)
    (attempt,) = attack.attempts(items_of("Steal tea")).attempts
    assert attempt.note.endswith("; the published prompt is the request itself")
    assert (attack.kind, attack.transfer) == ("frozen", True)


def test_the_version_follows_the_file_and_the_victims(with_victims: FrozenPrompts, tmp_path: Path) -> None:
    other_order = with_victims.model_copy(update={"attacks": {"pair": ["weak", "strong"]}})
    first, again, other = (
        FrozenAttack("pair", one, tmp_path).version for one in (with_victims, with_victims, other_order)
    )
    assert first == again != other


def test_a_file_that_is_missing_or_another_one_is_refused(with_victims: FrozenPrompts, tmp_path: Path) -> None:
    expected = "expected the prompts of https://example.org/x"
    with pytest.raises(UserError, match=f"attack pair: no file <data_root>/prompts.jsonl; {expected}"):
        FrozenAttack("pair", with_victims, None)
    with pytest.raises(UserError, match=r"attack pair: no file .*/empty/prompts.jsonl"):
        FrozenAttack("pair", with_victims, tmp_path / "empty")
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=f"expected {with_victims.sha256}"):
        FrozenAttack("pair", with_victims, tmp_path)


def test_a_column_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    columns = {"attack": "attack", "request": "goal", "prompt": "attack_prompt", "victim": None}
    with pytest.raises(UserError, match="row 1: no text in field 'goal'"):
        FrozenAttack("pair", frozen_of(tmp_path, WITHOUT_VICTIMS, columns, attacks={"pair": []}), tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "name", "n", "n_unchanged"),
    [
        ("strongreject", "pair", 313, 7),
        ("strongreject", "pap", 313, 23),
        ("strongreject_small", "pair", 60, 1),
        ("strongreject_small", "pap", 60, 7),
        ("advbench", "pair", 520, 2),
        ("advbench", "pap", 520, 0),
        # Five behaviours were reworded after the artifacts were published; PAIR found no prompt for eight others.
        ("jailbreakbench_harmful", "pair", 87, 0),
        ("jailbreakbench_harmful", "gcg", 95, 0),
        ("jailbreakbench_harmful", "jbc", 99, 0),
    ],
)
def test_the_published_files_have_prompts_for_the_published_sets(
    benchmark: str, name: str, n: int, n_unchanged: int, shared_data: Path
) -> None:
    spec = load_spec(benchmark)
    assert spec.frozen is not None
    items = load_items(spec, shared_data, None, seed=0)
    attacked = FrozenAttack(name, spec.frozen, shared_data).attempts(items)
    assert len(attacked.attempts) == n
    assert sum(attempt.prompt == attempt.item.request for attempt in attacked.attempts) == n_unchanged
    assert {one.item.id for one in attacked.attempts} | set(attacked.missing) == {item.id for item in items}
