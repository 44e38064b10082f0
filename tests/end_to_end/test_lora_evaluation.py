"""A LoRA training through to its evaluation, on a tiny random model: its run folder is all that `evaluate` needs."""

import json

import pytest
from evaluation.small_evaluation import overrides, write_benchmarks

from cada_trl import evaluate, train
from cada_trl.models.named import model_identity, named_model
from cada_trl.records import read_jsonl

from .tiny_model import save_tiny_model, tiny_overrides


@pytest.mark.slow
def test_a_lora_run_is_evaluated_as_its_merged_model(tmp_path, monkeypatch):
    model = save_tiny_model(tmp_path / "model")
    assert train.main([*tiny_overrides(tmp_path, model), "peft=lora"]) == 0
    run = tmp_path / "runs" / "tiny"
    write_benchmarks(tmp_path, monkeypatch)
    assert evaluate.main([*overrides(tmp_path, model="runs/tiny"), "max_new_tok=4"]) == 0

    (folder,) = [path.parent for path in (tmp_path / "evals").glob("*/scores.json")]
    decides = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["decides"]
    merged = decides["model"]["model.safetensors"]
    assert merged == model_identity(named_model(str(run)))["model.safetensors"]
    assert merged != model_identity(named_model(str(model)))["model.safetensors"]
    attempts = sum(1 for _ in read_jsonl(folder / "attempts.jsonl"))
    assert 0 < attempts == sum(1 for _ in read_jsonl(folder / "responses.jsonl"))
