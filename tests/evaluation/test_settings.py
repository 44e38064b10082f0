"""The settings of an evaluation: suites, plain lists, a model by any of its four names, mistakes in one line."""

import json
import re
from pathlib import Path

import pytest
import yaml

from cada_trl.config import CONF_DIR, load_config
from cada_trl.config.loading import described, groups, leaf_paths
from cada_trl.data.benchmark_items import load_spec
from cada_trl.data.sources import read_twins
from cada_trl.data.split import pair_roles
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import (
    EvaluateConfig,
    load_evaluate_config,
    load_faithfulness_config,
    load_utility_config,
)
from cada_trl.evaluation.utility.task import TASK_DIR
from cada_trl.hazards.pack import TWINS
from cada_trl.hazards.policy import compile_policy
from cada_trl.policy import new
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import read_yaml

from .small_evaluation import write_model


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "weights")


def write_run(path, *overrides):
    write_model(path / "final")
    config = load_config(["data=twins", *overrides]).model_dump()
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (path / "manifest.json").write_text('{"exit_state": "done"}', encoding="utf-8")
    return path


def test_a_leaf_has_one_meaning_and_no_group_has_its_name():
    sections = [field.annotation for field in EvaluateConfig.model_fields.values()]
    leaves = [leaf for section in sections for leaf in getattr(section, "model_fields", {})]
    assert len(leaves) == len(set(leaves))
    assert not set(leaf_paths(EvaluateConfig)) & set(groups(CONF_DIR, "evaluate"))


@pytest.mark.parametrize("choice", groups(CONF_DIR, "evaluate")["suite"])
def test_a_suite_names_benchmarks_that_exist_and_each_of_its_values_can_be_overruled(choice):
    config = load_evaluate_config([f"suite={choice}", "data_root=sets"])
    assert {load_spec(name).harmful for name in config.benchmarks} == {True, False}
    assert not any(load_spec(name).gated for name in config.benchmarks)
    other = load_evaluate_config([f"suite={choice}", "benchmarks=advbench", "attacks=none", "limit=3", "max_new_tok=9"])
    assert (other.benchmarks, other.attacks, other.limit) == (["advbench"], ["none"], 3)
    assert other.generation.max_new_tok == 9


@pytest.mark.parametrize("choice", groups(CONF_DIR, "evaluate")["model"])
def test_every_models_file_composes_without_what_it_sets_for_training(choice):
    config = load_evaluate_config([f"model={choice}"])
    assert config.model == load_config([f"model={choice}"]).model
    assert config.prompt.arm == "none"


def test_lists_are_written_plainly_and_methods_by_their_leaf_name():
    config = load_evaluate_config(
        ["attacks=none,translation:german", "arm=cases", "judge=strongreject", "backend=vllm"]
    )
    assert config.attacks == ["none", "translation:german"]
    assert (config.prompt.arm, config.prompt.cases_as) == ("cases", "turns")  # as SmolLM2's file says
    assert (config.judge.kind, config.generation.backend) == ("strongreject", "vllm")


def test_a_run_folder_is_its_trained_model_and_how_its_prompts_were_written(tmp_path):
    run = write_run(tmp_path / "my-run-s0", "cases_as=turns", "n_cases=2")
    config = load_evaluate_config([f"model={run}"])
    assert (config.model.name, config.model.source, config.model.path) == ("my-run-s0", "folder", str(run / "final"))
    assert (config.prompt.arm, config.prompt.cases_as, config.prompt.n_cases) == ("none", "turns", 2)
    assert load_evaluate_config([f"model={run}", "prompt=cases", "n_cases=1"]).prompt.n_cases == 1


@pytest.mark.parametrize("second", ["path=elsewhere", "source=embedded", "name=other", "model.path=elsewhere"])
def test_a_run_or_a_folder_is_the_only_word_on_which_model_it_is(tmp_path, folder, second):
    for first in (write_run(tmp_path / "my-run-s0"), folder):
        for load in (load_evaluate_config, load_faithfulness_config, load_utility_config):
            with pytest.raises(UserError, match=f"^{second}: model={first} says already which model it is; give one"):
                load([second, f"model={first}"])


def test_a_hub_id_takes_a_revision_and_no_second_path(monkeypatch):
    of_hub = load_config(["model=llama3"]).model
    monkeypatch.setattr(
        "cada_trl.evaluation.settings.named_model",
        lambda word, revision: of_hub.model_copy(update={"path": word, "revision": revision}),
    )
    model = load_evaluate_config(["model=org/name", "revision=abc", "dtype=float32"]).model
    assert (model.path, model.revision, model.dtype) == ("org/name", "abc", "float32")
    with pytest.raises(UserError, match="path=org/other: model=org/name says already"):
        load_evaluate_config(["model=org/name", "revision=abc", "path=org/other"])


def test_a_place_stands_beside_a_choice_or_alone(folder):
    for choice in (["model=llama3"], []):
        model = load_evaluate_config([*choice, "source=folder", f"path={folder}", "model.name=mine"]).model
        assert (model.source, model.path, model.name) == ("folder", str(folder), "mine")


def test_of_two_models_the_last_is_taken(folder):
    assert load_evaluate_config(["model=smollm2", f"model={folder}"]).model.name == "weights"
    assert load_evaluate_config([f"model={folder}", "model=smollm2"]) == load_evaluate_config(["model=smollm2"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("suite=quik", "suite=quik: no such choice; did you mean quick?"),
        ("benchmark=a", "unknown key 'benchmark'; did you mean benchmarks?"),
        ("attacks=none,none", "attacks names none twice"),
        ("max_new_tok=0", "generation.max_new_tok=0: Input should be greater than or equal to 1"),
        ("batch_tok=0", "generation.batch_tok=0: Input should be greater than or equal to 1"),
        ("beta_kl=0.1", "unknown key 'beta_kl'"),
        ("attacker_llm=some-model", "an attacker needs both attacker_base_url and attacker_llm"),
        (
            "attacker_llm=m attacker_base_url=http://localhost:1/v1 attacks=none,base64",
            "attacks=none,base64 has none that an attacker writes; leave attacker_llm out",
        ),
        ("min_coverage=90", "min_coverage=90"),
        ("model=hydra_conf/nothing", "model=hydra_conf/nothing is no choice, no folder and no hub id"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(override, message, monkeypatch):
    monkeypatch.chdir(CONF_DIR.parent)
    with pytest.raises(UserError) as error:
        load_evaluate_config(override.split())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "path", [CONF_DIR / "evaluate.yaml", *(CONF_DIR / "suite").glob("*.yaml")], ids=lambda path: path.stem
)
def test_every_value_of_ours_says_so_on_its_line(path):
    text = path.read_text(encoding="utf-8")
    for key in ("limit: 25", "max_new_tok", "min_coverage", "batch_tok", "n_streams", "attacker_max_calls"):
        assert all("# ours" in line for line in text.splitlines() if line.strip().startswith(key))


def test_the_default_asks_the_embedded_model_every_task():
    settings = load_utility_config([])
    assert (settings.model.source, sorted(settings.tasks), settings.limit) == ("embedded", described(TASK_DIR), None)


def test_names_with_commas_are_a_list_and_a_model_is_a_word():
    settings = load_utility_config(["tasks=gsm8k,mmlu", "model=llama3", "limit=20"])
    assert (settings.tasks, settings.model.name, settings.limit) == (["gsm8k", "mmlu"], "llama3", 20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("limti=3", "unknown key 'limti'; did you mean limit?"),
        ("tasks=gsm8k,gsm8k", "tasks=gsm8k,gsm8k: expected at least one task, each once"),
        ("tasks=[]", "tasks=: expected at least one task, each once"),
        ("model=llama3 model=smollm2", "model is given 2 times; expected one model a call"),
        ("max_answer_tok=9000", "max_answer_tok=9000: context_tok=8192 has no such room"),
        ("trust_remote_code=true", "trust_remote_code=true: code from a model's folder is never run"),
    ],
)
def test_a_mistake_is_one_line(words, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_utility_config(words.split())


@pytest.mark.parametrize("choice", groups(CONF_DIR, "evaluate")["suite"])
def test_without_data_root_a_suite_asks_what_is_shipped_in_its_own_size(choice):
    config = load_evaluate_config([f"suite={choice}"])
    assert config.benchmarks == ["twins_harmful", "twins_harmless"]
    assert config.limit == load_evaluate_config([f"suite={choice}", "data_root=sets"]).limit
    assert load_evaluate_config([f"suite={choice}", "benchmarks=xstest_safe"]).benchmarks == ["xstest_safe"]


def test_a_policy_gives_its_hazards_and_a_suite_then_asks_its_held_out_twins(tmp_path):
    new(f"{tmp_path}/mine")
    words = [f"policy={tmp_path}/mine", "model=smollm2"]
    config = load_evaluate_config(words)
    assert Path(config.hazards).parents[2] == tmp_path / "mine"
    assert config.benchmarks == ["twins_harmful", "twins_harmless"]
    suite = load_evaluate_config(["model=smollm2", "data_root=sets"]).benchmarks
    assert load_evaluate_config([*words, "data_root=sets"]).benchmarks == [*config.benchmarks, *suite]
    assert load_evaluate_config([*words, "benchmarks=advbench"]).benchmarks == ["advbench"]
    with pytest.raises(UserError, match="unknown key 'policy'"):
        load_utility_config([f"policy={tmp_path}/mine", "model=smollm2"])


@pytest.mark.slow
def test_a_run_on_twins_of_ones_own_asks_those_and_refuses_pairs_that_it_was_trained_on(tmp_path):
    folder = tmp_path / "mine"
    new(str(folder))
    made = compile_policy(str(folder))
    run = write_run(tmp_path / "run", f"hazards={made.pack}", f"file={made.twins}", "licence=ours")
    config = load_evaluate_config([f"model={run}"])
    assert (config.twins_file, config.benchmarks[0]) == (str(made.twins), "twins_harmful")
    assert load_evaluate_config([f"model={run}/final", f"policy={folder}"]).twins_file == str(made.twins)
    held_out = pair_roles(read_twins(made.twins).rows, ()).probe
    policy = read_yaml(folder / "policy.yaml")
    texts = [row.text for row in read_twins(made.twins).rows if row.pair in held_out]
    policy["twins"] = [pair for pair in policy["twins"] if pair["harmful"] not in texts]  # others take their place
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    later = compile_policy(str(folder)).twins
    message = f"2 of the held-out pairs of {later} are, or nearly are, among the requests that {run}/final may have"
    with pytest.raises(UserError, match=message):
        load_evaluate_config([f"model={run}", f"policy={folder}"])
    write_run(
        tmp_path / "on", "source=folder", f"path={run}/final", f"hazards={made.pack}", f"file={later}", "licence=ours"
    )
    began = f"{run}/final, from which {tmp_path}/on/final began, may have been trained on; .* from an untrained model$"
    with pytest.raises(UserError, match=began):
        load_evaluate_config([f"model={tmp_path}/on"])
    asked = load_evaluate_config([f"model={run}", f"policy={folder}", "benchmarks=advbench"])
    assert asked.benchmarks == ["advbench"]  # which holds none of them


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_twins_that_were_edited_after_the_training_are_refused_whatever_their_name_is(tmp_path, monkeypatch, place):
    new(str(tmp_path / "mine"))
    made = compile_policy(str(tmp_path / "mine"))
    work = tmp_path / place
    work.mkdir()
    (work / "twins.jsonl").write_bytes(made.twins.read_bytes())
    run = write_run(tmp_path / "run", f"hazards={made.pack}", "file=twins.jsonl", "licence=ours")
    inputs = {"data": {"inputs": {"sha256": {"file": file_sha256(made.twins)}}}, "exit_state": "done"}
    (run / "manifest.json").write_text(json.dumps(inputs), encoding="utf-8")
    monkeypatch.chdir(work)
    assert load_evaluate_config([f"model={run}"]).twins_file == "twins.jsonl"
    with (work / "twins.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(UserError, match=rf"the request set is another one than when {run} began; restore it"):
        load_evaluate_config([f"model={run}"])


def test_a_run_of_another_version_is_named(tmp_path):
    run = write_run(tmp_path / "run")
    text = (run / "config.yaml").read_text(encoding="utf-8").replace("  beta_kl:", "  gone_key: 1\n  beta_kl:")
    (run / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{run}/config\.yaml is of another version of this package: unknown key"):
        load_evaluate_config([f"model={run}"])


@pytest.mark.slow
def test_a_run_on_the_embedded_twins_refuses_a_file_that_holds_out_what_it_was_trained_on(tmp_path):
    probed = pair_roles(read_twins().rows, ()).probe
    lines = TWINS.read_text(encoding="utf-8").splitlines(keepends=True)
    trained = next(row for row in map(json.loads, lines) if row["pair"] not in probed and not row["harmful"])
    copied = tmp_path / "copied.jsonl"
    copied.write_text("".join(line for line in lines if f'"{trained["pair"]}"' in line), encoding="utf-8")
    words = [f"model={write_run(tmp_path / 'run')}", f"twins_file={copied}"]
    with pytest.raises(
        UserError, match=r"^1 of the held-out pairs of .*; evaluate with twins_file=null, or train again"
    ):
        load_evaluate_config(words)


def test_another_programs_configuration_where_the_call_is_made_is_no_run(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("lr: 0.1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_evaluate_config(["suite=quick"]).benchmarks == ["twins_harmful", "twins_harmless"]
