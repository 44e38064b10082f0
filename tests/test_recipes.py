"""A recipe is a list of overrides that composes, under a head that names its command, its hours and what to expect."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cada_trl.config import config_hash, load_config
from cada_trl.config.recipes import recipe_words
from cada_trl.jobs.table_plan import load_layout, load_models
from cada_trl.report.names import benchmark_name
from cada_trl.report.paper import MEASURES, PaperRow, paper_tables

RECIPES = Path(__file__).parents[1] / "recipes"
TRAININGS = sorted(path for path in RECIPES.glob("*/*.yaml") if path.parent.name != "tables")
OF_THE_PAPER = [path for path in TRAININGS if path.parent.name != "smollm2"]


def name(recipe: Path) -> str:
    return f"{recipe.parent.name}/{recipe.stem}"


def overrides(recipe: Path) -> list[str]:
    return [str(line) for line in yaml.safe_load(recipe.read_text(encoding="utf-8"))]


def expected_lines(model: str, recipe: str) -> list[str]:
    """A line for each of the paper's rows, from its data file; one line where it has none."""
    methods = {row.method for table in (1, 2, 3, 4) for row in load_layout(table).rows if row.recipe == recipe}
    rows = [row for row in paper_tables().rows if row.model == model and row.method in methods]
    if not rows:
        return ["# Expected: the paper reports no such training."]
    return ["# Expected, as the paper reports it:", *map(_line, rows)]


def _line(row: PaperRow) -> str:
    shown = {attack: " ± ".join(f"{number:g}" for number in numbers) for attack, numbers in row.values.items()}
    numbers = ", ".join(f"{attack} {value}" if len(shown) > 1 else value for attack, value in shown.items())
    return f"#   Table {row.table}, {benchmark_name(row.benchmark)}, {MEASURES[row.measure]} %: {numbers}"


@pytest.mark.parametrize("recipe", TRAININGS, ids=name)
def test_every_line_of_a_recipe_is_an_override_with_its_source_beside_it(recipe: Path) -> None:
    load_config([f"model={recipe.parent.name}", *overrides(recipe)])
    lines = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(lines) == len(overrides(recipe))
    assert all("#" in line or line.startswith(("- seed=", "- rollout=", "- judge=")) for line in lines)
    assert recipe_words(name(recipe), RECIPES) == overrides(recipe)


@pytest.mark.parametrize("recipe", TRAININGS, ids=name)
def test_the_head_of_a_recipe_has_its_own_command(recipe: Path) -> None:
    assert f"#   make train ARGS=recipe={name(recipe)}\n" in recipe.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", OF_THE_PAPER, ids=name)
def test_the_head_of_a_recipe_of_the_paper_has_the_papers_own_numbers_and_the_estimated_hours(recipe: Path) -> None:
    text, model = recipe.read_text(encoding="utf-8"), recipe.parent.name
    head = [line for line in text.splitlines() if line.startswith("#")]
    expected = expected_lines(model, recipe.stem)
    assert head[-len(expected) :] == expected
    assert f" Hours: {load_models().models[model].train_h:g}, ESTIMATED (recipes/tables/models.yaml)." in text


def test_the_numbers_of_a_head_are_those_of_the_table() -> None:
    assert "#   Table 3, StrongREJECT, ASR %: none 0.2 ± 0.1, pair 20.4 ± 1.2, pap 8.1 ± 0.3" in expected_lines(
        "llama3", "cada"
    )
    assert expected_lines("llama3_70b", "cada") == ["# Expected: the paper reports no such training."]


def test_the_smollm2_recipe_is_the_default() -> None:
    pinned = load_config(["model=smollm2", *overrides(RECIPES / "smollm2" / "cada.yaml")])
    assert config_hash(pinned) == config_hash(load_config(["model=smollm2"]))
