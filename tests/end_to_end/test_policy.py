"""A policy file from `new` to a trained model: its twins are learned from, and the third that is held out is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cada_trl.data.own_sets import find_sets
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.policy import check, new
from cada_trl.records import read_jsonl
from cada_trl.train import main

from .tiny_model import save_tiny_model, tiny_overrides


def test_a_new_policy_trains_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new("mine")
    assert not any(one.is_error for one in check("mine", []))
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
