"""A command line's words go to the sweep, the training or the evaluation, and become cells; a card changes the keys
that it names. What is refused before any cell starts is in tests/test_every_verb.py."""

import functools
import re
from pathlib import Path

import pytest

from cada_trl.config import CONF_DIR, Config, config_hash, load_config
from cada_trl.config.loading import described, flat, groups, leaf_paths
from cada_trl.errors import UserError
from cada_trl.jobs.grid import CARD_DIR, SweepConfig, last_of_each_key, load_card, make_grid, read_request, values_of
from cada_trl.tracking.metrics import METRICS

CARDS = described(CARD_DIR)


def test_words_are_sorted_and_an_evaluations_lose_their_prefix():
    request = read_request(["beta_kl=0,1", "evaluate=quick", "jobs=2", "evaluate.attacks=none,pair", "--dry-run"])
    assert request.training == ("beta_kl=0,1",)
    assert request.evaluation == ("suite=quick", "attacks=none,pair")
    assert (request.config.jobs, request.flag) == (2, "--dry-run")
    assert read_request(["beta_kl=0,1"]).evaluation is None
    assert [read_request([f"launcher={x}"]).config.submit for x in ("slurm", "slurm_array")] == ["slurm", "slurm_array"]
    assert read_request(["launcher=accelerate"]).training == ("launcher=accelerate",)


def test_no_key_of_the_sweep_is_a_key_of_the_training():
    assert set(leaf_paths(SweepConfig)).isdisjoint({*leaf_paths(Config), *groups(CONF_DIR, "config")})


@functools.cache
def default():
    return flat(load_config([]).model_dump())


def test_the_cards_are_those_of_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| .*\?", page, re.MULTILINE) == CARDS
    for name in CARDS:
        assert load_card(name).question in page


@pytest.mark.parametrize("name", CARDS)
def test_a_card_asks_a_question_and_changes_the_keys_that_it_names_and_no_other(name):
    card = load_card(name)
    assert card.question.endswith("?") and card.expected.endswith(".") and card.paper
    assert {*card.metrics} <= {"asr", "nrr", *METRICS}
    cells = make_grid(card.overrides)
    assert len(cells) > 1
    configs = [flat(cell.config.model_dump()) for cell in cells]
    changed = {key for config in configs for key, value in config.items() if value != default()[key]}
    assert changed == set(card.changes)


def test_the_users_words_come_after_the_cards():
    cells = make_grid(read_request(["beta_kl=0.5,1.0", "ablation=kl"]).training)
    assert [cell.config.algo.beta_kl for cell in cells] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("words", "axes"),
    [
        ("seed=0,1,2 recipe=smollm2/cada", [{}, {}, {}]),
        ("algo.beta_kl=0.0,0.1 recipe=smollm2/cada", [{"beta_kl": 0.0}, {"beta_kl": 0.1}]),
        ("beta_kl=0.5,1.0 ablation=kl recipe=smollm2/cada", [{"beta_kl": 0.5}, {"beta_kl": 1.0}]),
        ("ablation=kl recipe=smollm2/cada", [{"beta_kl": 0.0}, {"beta_kl": 0.01}, {"beta_kl": 0.1}]),
        ("n_train=300,600 policy=pharmacy", [{"n_train": 300}, {"n_train": 600}]),
        ("ablation=pairs policy=tenancy", [{"n_train": n} for n in (75, 150, 300, 600)]),
        ("prompt=glob(code*) policy=tenancy recipe=smollm2/cada", [{"prompt": "codes"}, {"prompt": "codes_of_hazard"}]),
    ],
)
def test_no_word_of_a_recipe_or_policy_takes_an_axiss_place(words, axes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the policy is compiled to
    request = read_request(words.split())
    assert [cell.axes for cell in make_grid(request.training, typed=request.typed)] == axes


def test_a_cards_fixed_words_hold_beside_a_recipe_and_one_value_typed_before_it_gives_way_as_in_train():
    words = ["model=llama3", "max_steps=3", "recipe=smollm2/cada", "lr=1e-5"]
    cells = make_grid(read_request(["ablation=baseline", *words]).training)
    configs = [load_config([*words, "rollouts_per_request=2", f"baseline={cell.axes['baseline']}"]) for cell in cells]
    assert len(cells) == 5 and [cell.config for cell in cells] == configs


def test_an_interval_is_searched_beside_a_recipe_that_holds_one_value_of_its_key():
    words = read_request(["search=optuna", "lr=interval(1e-6,1e-4)", "recipe=smollm2/cada"]).training
    assert "lr=interval(1e-6,1e-4)" in last_of_each_key(words)


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("beta_kl=0.0,0.01,0.1", ["beta_kl=0.0", "beta_kl=0.01", "beta_kl=0.1"]),
        ("seed=range(0,3)", ["seed=0", "seed=1", "seed=2"]),
        ("n_cases=choice(1,3)", ["n_cases=1", "n_cases=3"]),
        ("baseline_rate=null,0.05", ["baseline_rate=null", "baseline_rate=0.05"]),
        ("prompt=glob(code*)", ["prompt=codes", "prompt=codes_of_hazard"]),
        ("file='a, b.jsonl'", ["file='a, b.jsonl'"]),
        ("held_out_hazards=hate,privacy", ["held_out_hazards=hate,privacy"]),
        ("held_out_hazards=[hate],[privacy]", ["held_out_hazards=[hate]", "held_out_hazards=[privacy]"]),
        ("beta_kl=0.1", ["beta_kl=0.1"]),
    ],
)
def test_an_axis_is_what_hydras_grammar_says_and_a_list_keeps_its_commas(word, values):
    assert values_of(word) == values


def test_the_last_word_of_a_key_wins_by_either_name():
    assert last_of_each_key(["lr=1", "prompt=cases", "algo.lr=2"]) == ["algo.lr=2", "prompt=cases"]


def test_axes_multiply_and_a_cells_id_is_the_content_of_its_training():
    cells = make_grid(["beta_kl=0.0,0.1", "seed=0,1", "data=twins"])
    assert [cell.label for cell in cells] == ["beta_kl=0 s0", "beta_kl=0 s1", "beta_kl=0.1 s0", "beta_kl=0.1 s1"]
    alone = load_config(["beta_kl=0.1", "seed=1", "data=twins", "threads=2", "tracking=local", "runs_dir=elsewhere"])
    assert cells[3].id == f"{config_hash(alone)}-s1"
    assert len({cell.id for cell in cells}) == 4


def test_a_group_is_an_axis_by_its_choice():
    cells = make_grid(["prompt=cases,no_cases"])
    assert [(cell.axes, cell.config.prompt.arm) for cell in cells] == [
        ({"prompt": "cases"}, "cases"),
        ({"prompt": "no_cases"}, "no_cases"),
    ]


def test_a_cell_that_stands_twice_is_one():
    assert len(make_grid(["seed=0,0"])) == 1


@pytest.mark.slow
def test_a_recipes_own_word_may_be_left_unread_and_a_typed_one_may_not():
    words = ["recipe=smollm2/cada", "prompt=no_cases", "seed=0,1"]
    request = read_request(words)
    cells = make_grid(request.training, typed=request.typed)
    assert [cell.config for cell in cells] == [load_config([*words[:2], f"seed={seed}"]) for seed in (0, 1)]
    request = read_request([*words, "hint=false"])
    with pytest.raises(UserError, match=r"hint=false: nothing reads it with prompt=no_cases"):
        make_grid(request.training, typed=request.typed)


def test_an_axis_that_nothing_reads_is_refused_where_one_of_its_values_is_null():
    with pytest.raises(UserError, match=r"benign_tok=16: nothing reads it with benign_frac=0\.0"):
        make_grid(["benign_tok=null,16", "benign_frac=0.0"])
    cells = make_grid(["benign_tok=null,16", "benign_frac=0.0,0.5"])
    assert [cell.config.algo.benign_per_step for cell in cells if cell.config.algo.benign_frac] == [8, 8]


@pytest.mark.parametrize(
    ("words", "axes"),
    [
        (["baseline=running,batch", "baseline_rate=0.1,null"], [("running", 0.1), ("running", None), ("batch", None)]),
        (["benign_frac=0.0,0.5", "benign_tok=null,16"], [(0.0, None), (0.5, None), (0.5, 16)]),
        (["peft=none,lora", "rank=4,8"], [("none", None), ("lora", 4), ("lora", 8)]),
    ],
)
def test_a_cell_is_trained_once_and_has_no_value_on_an_axis_that_it_does_not_read(words, axes):
    assert [tuple(cell.axes.values()) for cell in make_grid(words)] == axes


def test_a_word_that_one_cell_reads_is_left_out_of_the_cells_that_do_not():
    cells = make_grid(["peft=none,lora", "rank=4"])
    assert [("rank=4" in cell.words, cell.config.peft.adapter) for cell in cells] == [(False, "none"), (True, "lora")]
