"""config.keys: the list of keys is what Hydra composes, with the source that stands beside each value."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cada_trl.config import CONF_DIR, Config, load_config
from cada_trl.config.keys import default_keys, describe_keys
from cada_trl.config.loading import Section, leaf_paths
from cada_trl.errors import HelpAsked
from cada_trl.evaluation.settings import EvaluateConfig, UtilityConfig, load_about
from cada_trl.evaluation.settings import load_utility_config as load_utility
from cada_trl.jobs.grid import SweepConfig
from cada_trl.jobs.table_plan import TableSettings, load_table_settings

# in no file: their defaults are those of older runs, or of models that say nothing of them
OF_THE_SCHEMA = {"judge.members", "data.twins", "model.chat"}


def sweep(words: list[str]) -> Any:
    from cada_trl.jobs.grid import read_request

    return read_request(words).config


@pytest.mark.parametrize(
    ("schema", "folder", "primary", "load"),
    [
        (Config, CONF_DIR, "config", load_config),
        # --help lists a suite's own benchmarks; without data_root the held-out twins take their place
        (EvaluateConfig, CONF_DIR, "evaluate", partial(load_about, EvaluateConfig, "evaluate")),
        (UtilityConfig, CONF_DIR, "utility", load_utility),
        (SweepConfig, CONF_DIR, "sweep", sweep),
        (TableSettings, CONF_DIR / "table", "table", load_table_settings),
    ],
)
def test_every_key_is_listed_with_the_value_that_is_composed(
    schema: type[Section], folder: Path, primary: str, load: Any
) -> None:
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


def test_a_key_stands_under_the_last_file_that_sets_it_with_that_files_source() -> None:
    lines = describe_keys(CONF_DIR, "config", set(leaf_paths(Config).values())).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  lr="))
    assert lines[at].split(maxsplit=1) == [
        "lr=1.0e-4",
        "ours: the only rate tried with the forward KL",
    ]
    above = [line for line in lines[:at] if line.startswith("hydra_conf/")]
    assert above[-1] == "hydra_conf/model_algo/smollm2_cada.yaml"
    assert not any(line.startswith("  lr=") for line in lines[at + 1 :])


def test_the_files_to_choose_from_are_listed_with_the_default_first() -> None:
    text = describe_keys(CONF_DIR, "config", set(leaf_paths(Config).values()))
    assert "  hardware=cpu                   a100x16 | a100x4 | a100x4_40gb | cpu | gpu" in text


def test_a_comment_above_a_key_is_its_source_where_none_stands_beside_it() -> None:
    assert default_keys(CONF_DIR, "sweep")["space"].source.startswith("ours: half a decade")
