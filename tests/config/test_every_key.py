"""Every key refuses a value that it cannot hold, and is named; a new key that takes any text needs a case here."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cada_trl.chat import ChatSettings
from cada_trl.config import CONF_DIR, Config, load_config
from cada_trl.config.loading import Section, check_values, compose_config, leaf_paths
from cada_trl.diagnosis import check_inputs
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import (
    EvaluateConfig,
    FaithfulnessConfig,
    UtilityConfig,
    load_evaluate_config,
    load_faithfulness_config,
    load_utility_config,
)
from cada_trl.export import ExportSettings
from cada_trl.jobs.grid import SweepConfig
from cada_trl.jobs.table_plan import TableSettings, load_table_settings

WRONG = "no such\nvalue"
# Texts that the schema cannot judge, and the tests that hold what is said of a wrong one.
ELSEWHERE = {
    "model.path": "models/test_load.py, test_damaged.py",
    "model.revision": "models/test_load.py",
    "model.eos": "models/test_checks.py",
    "model.pad": "models/test_checks.py",
    "data.file": "below",
    "data.hub_id": "data/test_sources.py",
    "data.hub_revision": "data/test_sources.py",
    "data.hub_split": "data/test_sources.py",
    "data.licence": "a remark that is copied into the manifest",
    "data.benchmarks_dir": "below",
    "judge.members": "judging/test_from_config.py",
    "judge.llm": "judging/test_endpoint.py: the judge is asked before the run",
    "hardware.accelerate_config": "test_launching.py",
    "peft.target_modules": "models/test_load.py",
    "shard": "evaluation/test_plan.py",
    "hazards": "below",
    "data_root": "data/test_benchmark_items.py",
    "twins_file": "data/test_twins.py",
    "against": "test_utility.py",
    "items": "evaluation/faithfulness/test_changes.py",
    "model": "models/test_named.py",
    "weights": "jobs/test_table_plan.py",
    "evaluate": "jobs/test_grid.py",
    "slurm_args": "sbatch says it",
    "attacker.attacker_llm": "evaluation/attacks/test_attacker.py",
    "run": "report/test_run_record.py",
    "ask": "test_chat.py",
    "to": "test_export.py",
    "push": "test_export.py",
    "evals": "test_export.py",
}
COMPOSED: dict[type[Section], Any] = {
    Config: lambda: load_config([]),
    EvaluateConfig: lambda: load_evaluate_config([]),
    UtilityConfig: lambda: load_utility_config([]),
    FaithfulnessConfig: lambda: load_faithfulness_config([]),
    SweepConfig: lambda: compose_config(SweepConfig, CONF_DIR, "sweep", []),
    TableSettings: lambda: load_table_settings(["table=3"]),
    ChatSettings: lambda: ChatSettings(run="runs/a"),
    ExportSettings: lambda: ExportSettings(run="runs/a"),
}


def with_wrong(values: dict[str, Any], path: str) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    *sections, leaf = path.split(".")
    inner = changed
    for name in sections:
        inner = inner[name]
    inner[leaf] = WRONG
    return changed


@pytest.mark.parametrize("schema", COMPOSED)
def test_each_key_refuses_what_it_cannot_hold_and_is_named(schema: type[Section]) -> None:
    values = COMPOSED[schema]().model_dump()
    taken = set()
    for leaf, path in leaf_paths(schema).items():
        try:
            check_values(schema, with_wrong(values, path))
        except UserError as error:
            assert leaf in str(error) and len(str(error)) < 500, f"{path}: {error}"
        else:
            taken.add(path)
    assert taken <= ELSEWHERE.keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=jsonl", "file=no-such.jsonl"], "cannot read no-such.jsonl: No such file or directory"),
        (["hazards=no-such-folder"], "no-such-folder"),
        (["benchmarks_dir=no-such-folder"], "no-such-folder"),
        (["held_out_hazards=[cooking]"], "cooking"),
        (["data=jsonl", "file=pyproject.toml"], "pyproject.toml, row 1: not a JSON object"),
    ],
)
def test_what_a_text_names_is_looked_at_before_the_run(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        list(check_inputs(load_config(words)))
