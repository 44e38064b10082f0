"""config.recipes: a recipe by its name is its words in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.config import RECIPES_DIR, config_hash, load_config
from cada_trl.config.recipes import expand_recipes, recipe_words
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.jobs.grid import read_request
from cada_trl.policy import new


def test_a_recipe_is_its_model_and_its_overrides() -> None:
    named = load_config(["recipe=smollm2/paper"])
    assert config_hash(named) == config_hash(
        load_config(["model=smollm2", *recipe_words("smollm2/paper", RECIPES_DIR)])
    )
    assert config_hash(named) != config_hash(load_config(["model=smollm2"]))


def test_what_comes_after_a_recipe_wins_and_what_comes_before_does_not() -> None:
    config = load_config(["beta_kl=0.5", "seed=9", "recipe=smollm2/cada", "seed=3"])
    assert (config.algo.beta_kl, config.seed) == (0.01, 3)


@pytest.mark.parametrize(
    ("name", "nearest"), [("smollm2/cade", "did you mean smollm2/cada"), ("tables/table1", "valid: "), ("", "valid: ")]
)
def test_an_unknown_recipe_fails_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"recipe={name}: no such recipe; {nearest}"):
        load_config([f"recipe={name}"])


def test_a_sweep_takes_a_recipe_and_an_axis_over_one_of_its_keys() -> None:
    from cada_trl.jobs.grid import make_grid

    request = read_request(["recipe=smollm2/cada", "beta_kl=0.0,0.1"])
    cells = make_grid(request.training)
    assert [cell.axes for cell in cells] == [{"beta_kl": 0.0}, {"beta_kl": 0.1}]
    assert {cell.config.algo.sampled_by for cell in cells} == {"reference"}


def test_words_without_a_recipe_stay_as_they_are() -> None:
    assert expand_recipes(["model=llama3", "--dry-run"], RECIPES_DIR) == ["model=llama3", "--dry-run"]


def test_a_policy_is_its_hazards_and_its_twins_and_what_comes_after_it_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new("mine")
    config = load_config(["recipe=smollm2/cada", "policy=mine", "licence=ours"])
    assert list(load_pack(config.hazards).hazards) == ["tenancy"]
    assert (config.data.dataset, config.data.licence) == ("twins", "ours")
    assert Path(str(config.data.file)).read_text(encoding="utf-8").count("tenancy-") == 12


def test_an_unknown_policy_is_one_line_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new("mine")
    with pytest.raises(UserError, match=r"no file policies/mime/policy\.yaml; there are: mine, pharmacy, tenancy;"):
        load_config(["policy=mime"])
