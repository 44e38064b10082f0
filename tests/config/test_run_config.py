"""The configuration: what it accepts, what it says to a mistake, and what its hash means."""

import re

import pytest

from cada_trl.config import CONF_DIR, Config, check_config, config_hash, load_config, run_config, run_name
from cada_trl.config.loading import flat, groups, leaf_paths
from cada_trl.config.run_config import HOW_ASKED
from cada_trl.errors import UserError

GROUPS, PATHS = groups(CONF_DIR, "config"), leaf_paths(Config)
CHOICES = [(group, choice) for group, choices in GROUPS.items() for choice in choices]
HYPER_PARAMETERS = [
    path for group in ("algo", "reward", "rollout", "prompt") for path in (CONF_DIR / group).glob("*.yaml")
]


def test_a_leaf_name_is_unique_and_no_groups_so_that_an_override_has_one_meaning():
    leaves = [path.rpartition(".")[2] for path in flat(load_config([]).model_dump())]
    assert sorted(leaves) == sorted(PATHS) and set(PATHS).isdisjoint(GROUPS)
    assert (PATHS["beta_kl"], PATHS["seed"]) == ("algo.beta_kl", "seed")


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_of_every_group_composes(group, choice):
    # SmolLM2's 24 rollouts per step do not divide over sixteen GPUs of two.
    load_config([f"{group}={choice}", *(["requests_per_step=32"] if choice == "a100x16" else [])])


def test_the_papers_requests_are_one_word_whatever_the_model():
    for model in ("smollm2", "llama3", "deepthought"):
        config = load_config([f"model={model}", "data=paper"])
        data = config.data
        assert (data.dataset, data.hub_split, data.twins, data.n_train) == ("beavertails", "30k_train", "none", 500)
        assert (data.sampling, data.classifier, config.algo.benign_frac) == ("natural", "reviewed", 0.0)


@pytest.mark.parametrize(("data", "trained"), [("twins", "both"), ("beavertails", "both"), ("jsonl", "harmless")])
def test_the_twins_beside_each_source(data, trained):
    assert load_config([f"data={data}"]).data.twins == trained
    assert load_config([]).data.dataset == "twins"


def test_the_last_word_of_a_key_by_its_short_or_full_name_wins_and_over_the_models_file_too():
    config = load_config(
        ["data=beavertails", "beta_kl=0.1", "data=twins", "algo.beta_kl=0.2", "lr=1e-6", "model=smollm2"]
    )
    assert (config.data.dataset, config.algo.beta_kl, config.algo.lr) == ("twins", 0.2, 1e-6)
    assert load_config(["algo.beta_kl=0.1", "beta_kl=0.2"]).algo.beta_kl == 0.2


def test_the_papers_values_are_the_models_defaults():
    llama, deepthought = load_config(["model=llama3"]).algo, load_config(["model=deepthought"]).algo
    assert (llama.lr, deepthought.lr) == (2e-6, 5e-6)
    for algo in (llama, deepthought):
        assert (algo.beta_kl, algo.requests_per_step, algo.epochs, algo.logp) == (0.01, 64, 1.0, "sum")
        assert (algo.baseline, algo.kl_in, algo.learn_on, algo.benign_frac) == ("running", "loss", "request", 0.0)


def test_a_value_in_quotes_may_hold_commas_and_blanks():
    assert load_config(["file='/a b, (c).jsonl'"]).data.file == "/a b, (c).jsonl"


def test_the_advised_micro_batch_really_divides_the_step_over_all_processes():
    with pytest.raises(UserError) as error:
        load_config(["hardware=a100x4", "requests_per_step=16", "micro_batch=3"])
    assert str(error.value).endswith("the next smaller that fits: micro_batch=2")
    load_config(["hardware=a100x4", "requests_per_step=16", "micro_batch=2"])


def test_a_stored_configuration_without_a_key_or_with_an_unknown_one_is_refused():
    values = load_config([]).model_dump()
    values["algo"]["betta_kl"] = values["algo"].pop("beta_kl")
    with pytest.raises(UserError) as refusal:
        check_config(values)
    assert "algo.beta_kl: Field required; unknown key 'algo.betta_kl'; did you mean beta_kl" in str(refusal.value)


def test_a_configuration_cannot_be_changed_after_the_fact():
    with pytest.raises(ValueError, match="frozen"):
        load_config([]).algo.lr = 1.0


def _another(value):
    """A different value of the same kind; the hash reads values, so bounds do not matter here."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "another"]
    return "another"


# chat is how an evaluation asks: training renders the template. members are a panel's, which pays no reward.
NOT_HASHED = {
    *("seed", "runs_dir", "run_name", "data_dir", "server_url", "tensor_parallel", "chat", "members"),
    *HOW_ASKED,
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # another value may be of another type
@pytest.mark.parametrize("leaf", PATHS)
def test_the_hash_changes_with_what_decides_the_result_and_with_nothing_else(leaf):
    config = load_config([])
    section, _, key = PATHS[leaf].rpartition(".")
    if section:
        part = getattr(config, section)
        changed = config.model_copy(update={section: part.model_copy(update={key: _another(getattr(part, key))})})
    else:
        changed = config.model_copy(update={key: _another(getattr(config, key))})
    ignored = section in {"hardware", "tracking", "tripwires"} or leaf in NOT_HASHED
    assert (config_hash(changed) == config_hash(config)) is ignored


def test_how_a_judge_is_asked_names_no_other_run_and_which_it_is_does():
    one = load_config(["judge=rubric"])
    again = load_config(["judge=rubric", "max_calls=7", "timeout_s=9.0", "max_retries=1", "api_key_env=MINE"])
    assert config_hash(one) == config_hash(again)
    assert config_hash(one) != config_hash(load_config(["judge=rubric", "llm=x"]))


def test_the_hash_is_the_same_for_an_integer_and_its_float():
    assert config_hash(load_config(["beta_kl=1"])) == config_hash(load_config(["beta_kl=1.0"]))


def test_a_run_is_named_by_model_hash_and_seed_unless_it_is_given_a_name():
    config = load_config(["seed=3"])
    assert run_name(config) == f"smollm2-{config_hash(config)}-s3"
    assert run_name(load_config(["run_name=mine"])) == "mine"


def test_a_missing_configuration_folder_says_how_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(run_config, "CONF_DIR", tmp_path / "absent")
    with pytest.raises(UserError, match="install the project again"):
        load_config([])


@pytest.mark.parametrize("path", HYPER_PARAMETERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_hyper_parameter_carries_its_source_on_its_line(path):
    keys = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\w+:", line)]
    assert keys
    names_the_choice = f": {path.stem}"  # `arm: cases` in cases.yaml: the file's first line says what it is
    assert [line for line in keys if "#" not in line and not line.endswith(names_the_choice)] == []


@pytest.mark.parametrize(
    ("flags", "quick"),
    [("flags : fpu avx512f avx512_bf16", True), ("flags : amx_bf16 amx_tile", True), ("flags : avx2 avx512f", False)],
)
def test_bf16_is_auto_on_a_cpu_and_asks_what_the_cpu_can(flags, quick, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr("cada_trl.config.sections.CPU_INFO", tmp_path / "cpuinfo")
    assert load_config([]).hardware.bf16 is quick
    assert load_config(["bf16=false"]).hardware.bf16 is False
    monkeypatch.setattr("cada_trl.config.sections.CPU_INFO", tmp_path / "none")
    assert load_config([]).hardware.bf16 is False
