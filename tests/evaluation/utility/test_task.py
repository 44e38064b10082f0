from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cada_trl.config.loading import described
from cada_trl.errors import UserError
from cada_trl.evaluation.utility import task
from cada_trl.evaluation.utility.task import TASK_DIR, load_task


@pytest.mark.parametrize(("name", "n", "n_subsets"), [("gsm8k", 1319, 1), ("bbh", 6511, 27), ("mmlu", 14042, 57)])
def test_the_published_number_of_questions_adds_up(name: str, n: int, n_subsets: int) -> None:
    spec = load_task(name)
    assert (spec.n, len(spec.subsets)) == (n, n_subsets)


def test_the_settings_are_the_papers() -> None:
    shots = {name: load_task(name).num_fewshot for name in described(TASK_DIR)}
    assert shots == {"gsm8k": 0, "bbh": 0, "mmlu": 5, "mmlu_plain": 5}
    assert [name for name in described(TASK_DIR) if not load_task(name).chat_template] == ["mmlu_plain"]
    assert load_task("bbh").group == "bbh_zeroshot"


def test_plain_mmlu_differs_from_mmlu_in_the_template_alone() -> None:
    ours = load_task("mmlu").model_dump()
    differing = {key for key, value in load_task("mmlu_plain").model_dump().items() if value != ours[key]}
    assert differing == {"name", "chat_template", "fewshot_as_turns"}


def test_an_unknown_task_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"unknown task 'gsm9k'; did you mean gsm8k\?"):
        load_task("gsm9k")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrik": "acc"}, "unknown key 'metrik'; did you mean metric?"),
        ({"group": None}, "group and group_definition go together"),
        ({"chat_template": False}, "fewshot_as_turns needs chat_template"),
        ({"subsets": {"anatomy": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_description_names_its_file(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**load_task("mmlu").model_dump(), **change, "name": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.setattr(task, "TASK_DIR", tmp_path)
    with pytest.raises(UserError, match=f"mine.yaml: .*{message}"):
        load_task("mine")


@pytest.mark.parametrize(("text", "message"), [("a: [", "cannot be read as YAML"), ("- a", "is not a task")])
def test_a_file_that_is_no_description_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(task, "TASK_DIR", tmp_path)
    with pytest.raises(UserError, match=f"mine.yaml.* {message}"):
        load_task("mine")
