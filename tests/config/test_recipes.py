"""A recipe or a policy is its words in its place; a recipe's head names its command, its hours and what to expect."""

from pathlib import Path

import pytest
import yaml
from hazards.policy_file import example

from cada_trl.config import RECIPES_DIR, config_hash, load_config
from cada_trl.config.run_config import expand_recipes, recipe_words
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.jobs.grid import read_request
from cada_trl.jobs.table_plan import load_layout, load_models
from cada_trl.policy import new
from cada_trl.report.names import benchmark_name
from cada_trl.report.paper import MEASURES, paper_tables

TRAININGS = sorted(path for path in RECIPES_DIR.glob("*/*.yaml") if path.parent.name != "tables")
OF_THE_PAPER = [path for path in TRAININGS if path.parent.name != "smollm2"]


def name(recipe):
    return f"{recipe.parent.name}/{recipe.stem}"


def overrides(recipe):
    return [str(line) for line in yaml.safe_load(recipe.read_text(encoding="utf-8"))]


def expected_lines(model, recipe):
    """A line for each of the paper's rows, from its data file; one line where it has none."""
    methods = {row.method for table in (1, 2, 3, 4) for row in load_layout(table).rows if row.recipe == recipe}
    rows = [row for row in paper_tables().rows if row.model == model and row.method in methods]
    if not rows:
        return ["# Expected: the paper reports no such training."]
    return ["# Expected, as the paper reports it:", *map(_line, rows)]


def _line(row):
    shown = {attack: " ± ".join(f"{number:g}" for number in numbers) for attack, numbers in row.values.items()}
    numbers = ", ".join(f"{attack} {value}" if len(shown) > 1 else value for attack, value in shown.items())
    return f"#   Table {row.table}, {benchmark_name(row.benchmark)}, {MEASURES[row.measure]} %: {numbers}"


@pytest.mark.parametrize("recipe", TRAININGS, ids=name)
def test_every_line_of_a_recipe_is_an_override_with_its_source_beside_it(recipe):
    load_config([f"model={recipe.parent.name}", *overrides(recipe)])
    lines = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(lines) == len(overrides(recipe))
    assert all("#" in line or line.startswith(("- seed=", "- rollout=", "- judge=")) for line in lines)
    assert recipe_words(name(recipe)) == overrides(recipe)


@pytest.mark.parametrize("recipe", TRAININGS, ids=name)
def test_the_head_of_a_recipe_has_its_own_command(recipe):
    assert f"#   make train ARGS=recipe={name(recipe)}\n" in recipe.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", OF_THE_PAPER, ids=name)
def test_the_head_of_a_recipe_of_the_paper_has_the_papers_own_numbers_and_the_estimated_hours(recipe):
    text, model = recipe.read_text(encoding="utf-8"), recipe.parent.name
    head = [line for line in text.splitlines() if line.startswith("#")]
    expected = expected_lines(model, recipe.stem)
    assert head[-len(expected) :] == expected
    assert f" Hours: {load_models().models[model].train_h:g}, ESTIMATED (recipes/tables/models.yaml)." in text


def test_the_smollm2_recipe_is_the_default():
    pinned = load_config(["model=smollm2", *overrides(RECIPES_DIR / "smollm2" / "cada.yaml")])
    assert config_hash(pinned) == config_hash(load_config(["model=smollm2"]))


def test_the_long_recipe_is_the_default_with_first_tokens_of_more_pairs():
    default, longer = (set(overrides(RECIPES_DIR / "smollm2" / f"{name}.yaml")) for name in ("cada", "cada_long"))
    assert longer - default == {"requests_per_step=24", "micro_batch=24", "first_tok_frac=0.667", "max_steps=300"}
    assert default - longer == {"requests_per_step=16", "first_tok_frac=0.0", "max_steps=150"}


def test_a_recipe_is_its_model_and_its_overrides():
    named = load_config(["recipe=smollm2/paper"])
    assert config_hash(named) == config_hash(load_config(["model=smollm2", *recipe_words("smollm2/paper")]))
    assert config_hash(named) != config_hash(load_config(["model=smollm2"]))


def test_what_comes_after_a_recipe_wins_and_what_comes_before_does_not():
    config = load_config(["beta_kl=0.5", "seed=9", "recipe=smollm2/cada", "seed=3"])
    assert (config.algo.beta_kl, config.seed) == (0.01, 3)


@pytest.mark.parametrize(
    ("name", "nearest"), [("smollm2/cade", "did you mean smollm2/cada"), ("tables/table1", "valid: "), ("", "valid: ")]
)
def test_an_unknown_recipe_fails_with_the_nearest(name, nearest):
    with pytest.raises(UserError, match=f"recipe={name}: no such recipe; {nearest}"):
        load_config([f"recipe={name}"])


def test_words_without_a_recipe_stay_as_they_are():
    assert expand_recipes(["model=llama3", "--dry-run"]) == ["model=llama3", "--dry-run"]


def test_a_policy_is_its_hazards_and_its_twins_and_what_comes_after_it_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example(Path("policies"))
    config = load_config(["recipe=smollm2/cada", "policy=mine", "licence=ours"])
    assert list(load_pack(config.hazards).hazards) == ["tenancy"]
    assert (config.data.dataset, config.data.licence) == ("twins", "ours")
    assert Path(str(config.data.file)).read_text(encoding="utf-8").count("tenancy-") == 12


def test_an_unknown_policy_is_one_line_with_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new("mine")
    with pytest.raises(UserError, match=r"no file policies/mime/policy\.yaml; there are: mine, pharmacy, tenancy;"):
        load_config(["policy=mime"])


@pytest.mark.parametrize("words", [["data=jsonl", "file=mine.jsonl"], ["recipe=smollm2/paper"]])
def test_a_policy_beside_requests_of_another_source_is_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the policy is compiled to
    with pytest.raises(UserError, match=r'policy=pharmacy brings twins .* hazards="policies/pharmacy/compiled/'):
        load_config(["policy=pharmacy", *words])
    with pytest.raises(UserError, match="policy=pharmacy brings twins"):
        read_request(["policy=pharmacy", *words])
