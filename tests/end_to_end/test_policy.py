"""A policy file from `new` to a certified model: its twins are learned from, and the held-out third is asked of it."""

import json
from pathlib import Path

import pytest
from hazards.policy_file import BESIDE, edit

from cada_trl import certificate, evaluate
from cada_trl.data.own_sets import find_sets
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.policy import check, new
from cada_trl.records import read_jsonl
from cada_trl.train import main

from .tiny_model import save_tiny_model, tiny_overrides


@pytest.mark.slow
def test_a_new_policy_trains_in_small_steps_and_is_certified_on_its_held_out_twins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new("mine")
    edit(Path("policies/mine"), BESIDE, "")
    assert not any(one.is_error for one in check("mine", ["requests_per_step=8", "micro_batch=8"]))
    own = {"data=twins", "n_train=12", "prompt=no_cases"}
    words = [word for word in tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")) if word not in own]
    assert main([*words, "policy=mine", "max_steps=1"]) == 0
    manifest = json.loads((tmp_path / "runs/tiny/manifest.json").read_text(encoding="utf-8"))
    assert manifest["exit_state"] == "done"
    [data] = (tmp_path / "data").glob("twins-*/")
    parts = {name: [row for _, row in read_jsonl(data / f"{name}.jsonl")] for name in ("train", "benign_train")}
    assert [len(part) for part in parts.values()] == [4, 4]
    config = load_evaluate_config(["policy=mine", "model=runs/tiny"])
    sets, _ = find_sets(config.benchmarks[:2], ["tenancy"], config.twins_file)
    asked = {item.request for _, items in sets for item in items or ()}
    assert len(asked) == 4 and not asked & {row["text"] for part in parts.values() for row in part}

    asking = ["policy=mine", "benchmarks=twins_harmful,twins_harmless", "attacks=none", "max_new_tok=4"]
    folders = []
    for model in ("model", "runs/tiny/final"):
        assert evaluate.main([f"model={tmp_path / model}", *asking, "min_coverage=0.0"]) == 0
        folders += [str(path.parent) for path in Path("evals").glob("*/scores.json") if str(path.parent) not in folders]
    assert certificate.main(folders) == 0
    [made] = Path("certificates").glob("*/certificate.json")
    said = json.loads(made.read_text(encoding="utf-8"))
    assert {name: one["before"]["asked"] for name, one in said["rates"].items()} == {
        "twins_harmful/none/all": 2,
        "twins_harmful/none/tenancy": 2,
        "twins_harmless/none/all": 2,
        "twins_harmless/none/tenancy": 2,
    }
    policy = Path(str(config.twins_file)).parent
    paths = {str((made.parent / name).resolve()) for name in said["files"]}
    assert {str(policy.resolve() / "twins.jsonl"), str(policy.resolve() / "pack/01_tenancy.yaml")} <= paths
    assert certificate.main(["--check", str(made)]) == 0
