"""The card of a made-up run, against the one in golden_readme.md; what it must never hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cada_trl.readme import model_card
from cada_trl.report.records import read_evaluation
from cada_trl.report.run_record import RunRecord, read_run
from tests.report.made_up_evaluation import ScoreJudge, refuses_most, write_evaluation
from tests.report.made_up_run import write_run

GOLDEN = Path(__file__).parent / "golden_readme.md"
FIXED = {"config_hash": "0123abcd", "data_hash": "4567cdef", "git": {"commit": "0123456789abcdef", "dirty": False}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    record = read_run(write_run(tmp_path_factory.mktemp("runs") / "made-up-s0"))
    return replace(record, manifest={**record.manifest, **FIXED})


def card(run: RunRecord, folder: Path) -> str:
    return model_card(run, [read_evaluation(write_evaluation(folder / "after-2", refuses_most, ScoreJudge()))])


def test_the_card_is_the_golden_one(run: RunRecord, tmp_path: Path) -> None:
    assert card(run, tmp_path) == GOLDEN.read_text(encoding="utf-8")


def test_its_front_matter_names_base_library_and_licence(run: RunRecord) -> None:
    values = yaml.safe_load(model_card(run).split("---\n")[1])
    assert values["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert values["library_name"] == "transformers" and values["pipeline_tag"] == "text-generation"
    assert values["license"] == "other" and values["license_name"]


def test_a_base_in_a_folder_is_named_without_its_path(run: RunRecord) -> None:
    model = {**run.config["model"], "source": "folder", "path": "/home/someone/base", "name": "mine"}
    written = model_card(replace(run, config={**run.config, "model": model}))
    assert "/home/someone" not in written and "base_model" not in written and "mine trained by" in written


def test_neither_requests_nor_completions_nor_keys_are_in_it(run: RunRecord) -> None:
    secret = {"wire": "kl", "action": "warn", "step": 3, "name": "train", "seen": "token=hunter2-hunter2"}
    written = model_card(replace(run, tripwires=[secret]))
    assert "Made-up" not in written and "can't help" not in written
    assert "kl (warn) at step 3" in written and "hunter2" not in written


def test_a_run_without_evaluations_says_so(run: RunRecord) -> None:
    assert "None was given to the export." in model_card(run)
