"""A recipe is a whole list of overrides: it composes, and the smollm2 one is the default of `make train`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cada_trl.config import config_hash, load_config

RECIPES = Path(__file__).parents[1] / "recipes"


def overrides(recipe: Path) -> list[str]:
    return [str(line) for line in yaml.safe_load(recipe.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_line_of_a_recipe_is_an_override_with_its_source_beside_it(recipe: Path) -> None:
    load_config([f"model={recipe.parent.name}", *overrides(recipe)])
    lines = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(lines) == len(overrides(recipe))
    assert all("#" in line or line.startswith(("- seed=", "- rollout=", "- judge=")) for line in lines)


def test_the_smollm2_recipe_is_the_default() -> None:
    pinned = load_config(["model=smollm2", *overrides(RECIPES / "smollm2" / "cada.yaml")])
    assert config_hash(pinned) == config_hash(load_config(["model=smollm2"]))
