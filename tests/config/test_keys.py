"""Every key is listed as Hydra composes it, with its source, and refuses a value that it cannot hold.

A new key that takes any text needs a case here.
"""

import copy
from functools import partial

import pytest
import yaml

from cada_trl.chat import ChatSettings
from cada_trl.config import CONF_DIR, Config, load_config
from cada_trl.config.keys import default_keys, describe_keys
from cada_trl.config.loading import check_values, leaf_paths
from cada_trl.errors import HelpAsked, UserError
from cada_trl.evaluation.settings import (
    EvaluateConfig,
    FaithfulnessConfig,
    UtilityConfig,
    load_about,
    load_faithfulness_config,
    load_utility_config,
)
from cada_trl.export import ExportSettings
from cada_trl.jobs.grid import SweepConfig, read_request
from cada_trl.jobs.table_plan import TableSettings, load_table_settings

# in no file: their defaults are those of older runs, or of models that say nothing of them
OF_THE_SCHEMA = {"judge.members", "data.twins", "model.chat"}
WRONG = "no such\nvalue"
# Texts that the schema cannot judge, and the tests that hold what is said of a wrong one.
ELSEWHERE = {
    "model.path": "models/test_load.py, models/test_damaged.py",
    "model.revision": "models/test_load.py",
    "model.eos": "models/test_load.py",
    "model.pad": "models/test_load.py",
    "data.file": "test_doctor.py",
    "data.hub_id": "data/test_sources.py",
    "data.hub_revision": "data/test_sources.py",
    "data.hub_split": "data/test_sources.py",
    "data.licence": "a remark that is copied into the manifest",
    "data.benchmarks_dir": "test_doctor.py",
    "judge.members": "judging/test_from_config.py",
    "judge.llm": "judging/test_endpoint.py: the judge is asked before the run",
    "hardware.accelerate_config": "test_launching.py",
    "peft.target_modules": "models/test_load.py",
    "shard": "evaluation/test_plan.py",
    "hazards": "test_every_verb.py",
    "data_root": "data/test_benchmark_items.py",
    "twins_file": "data/test_twins.py",
    "against": "test_every_verb.py",
    "items": "test_faithfulness.py",
    "model": "models/test_named.py",
    "weights": "test_every_verb.py",
    "evaluate": "test_every_verb.py",
    "slurm_args": "sbatch says it",
    "attacker.attacker_llm": "evaluation/attacks/test_attacker.py",
    "run": "test_every_verb.py",
    "ask": "test_chat.py",
    "to": "test_every_verb.py",
    "push": "test_every_verb.py",
    "evals": "test_every_verb.py",
}
# how each is loaded; --help lists a suite's own benchmarks, and without data_root the held-out twins take their place
LOADED = {
    Config: load_config,
    EvaluateConfig: partial(load_about, EvaluateConfig, "evaluate"),
    FaithfulnessConfig: load_faithfulness_config,
    UtilityConfig: load_utility_config,
    SweepConfig: lambda words: read_request(words).config,
    TableSettings: load_table_settings,
    ChatSettings: lambda words: ChatSettings(run="runs/a"),
    ExportSettings: lambda words: ExportSettings(run="runs/a"),
}


@pytest.mark.parametrize(
    ("schema", "folder", "primary"),
    [
        (Config, CONF_DIR, "config"),
        (EvaluateConfig, CONF_DIR, "evaluate"),
        (UtilityConfig, CONF_DIR, "utility"),
        (SweepConfig, CONF_DIR, "sweep"),
        (TableSettings, CONF_DIR / "table", "table"),
    ],
)
def test_every_key_is_listed_with_the_value_that_is_composed(schema, folder, primary):
    load = LOADED[schema]
    composed, keys = load([]).model_dump(), default_keys(folder, primary)
    paths = set(leaf_paths(schema).values())
    assert paths - set(keys) <= OF_THE_SCHEMA
    for path in paths & set(keys):
        section, _, leaf = path.rpartition(".")
        if keys[path].value == "auto":  # this machine answers
            continue
        assert yaml.safe_load(keys[path].value) == (composed[section] if section else composed)[leaf], path
    with pytest.raises(HelpAsked) as asked:
        load(["--help"])
    assert str(asked.value) == describe_keys(folder, primary, paths)


def test_a_key_stands_under_the_last_file_that_sets_it_with_that_files_source():
    lines = describe_keys(CONF_DIR, "config", set(leaf_paths(Config).values())).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  lr="))
    assert lines[at].split(maxsplit=1) == [
        "lr=1.0e-4",
        "ours: 2.0e-4, with first tokens of more pairs, gave no better J",
    ]
    above = [line for line in lines[:at] if line.startswith("hydra_conf/")]
    assert above[-1] == "hydra_conf/model_algo/smollm2_cada.yaml"
    assert not any(line.startswith("  lr=") for line in lines[at + 1 :])


def test_the_files_to_choose_from_are_listed_with_the_default_first():
    text = describe_keys(CONF_DIR, "config", set(leaf_paths(Config).values()))
    assert "  hardware=cpu                   a100x16 | a100x4 | a100x4_40gb | cpu | gpu" in text


def test_a_comment_above_a_key_is_its_source_where_none_stands_beside_it():
    assert default_keys(CONF_DIR, "sweep")["space"].source.startswith("ours: half a decade")


def with_wrong(values, path):
    changed = copy.deepcopy(values)
    *sections, leaf = path.split(".")
    inner = changed
    for name in sections:
        inner = inner[name]
    inner[leaf] = WRONG
    return changed


@pytest.mark.parametrize("schema", LOADED)
def test_each_key_refuses_what_it_cannot_hold_and_is_named(schema):
    values = LOADED[schema]([]).model_dump()
    taken = set()
    for leaf, path in leaf_paths(schema).items():
        try:
            check_values(schema, with_wrong(values, path))
        except UserError as error:
            assert leaf in str(error) and len(str(error)) < 500, f"{path}: {error}"
        else:
            taken.add(path)
    assert taken <= ELSEWHERE.keys()
