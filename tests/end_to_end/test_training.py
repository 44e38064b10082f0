"""The whole verb from requests to report on a tiny random model; on the embedded SmolLM2 it is test_docs.py's."""

import json

import pytest
import yaml

from cada_trl.config import check_config, load_config
from cada_trl.records import read_jsonl, read_requests
from cada_trl.tracking.metrics import METRICS
from cada_trl.train import main

from .tiny_model import save_tiny_model, tiny_overrides

TRAINED = {
    "config.yaml",
    "manifest.json",
    "train.jsonl",
    "probes.jsonl",
    "report.html",
    "report.md",
    "report.json",
    "completions/step_000001.jsonl",
    "completions/step_000002.jsonl",
    "probes/before.jsonl",
    "probes/after.jsonl",
    "checkpoints/checkpoint-1/complete.json",
    "checkpoints/checkpoint-2/complete.json",
    "final/model.safetensors",
    "final/tokenizer.json",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, model):
    """The run folder of two steps."""
    folder = tmp_path_factory.mktemp("run")
    assert main(tiny_overrides(folder, model)) == 0
    return folder / "runs" / "tiny"


def rows(file):
    return [row for _, row in read_jsonl(file)]


@pytest.mark.slow
def test_every_file_of_a_run_is_there(run):
    assert {name for name in TRAINED if not (run / name).is_file()} == set()


def test_nothing_half_written_is_left(run):
    assert [path for path in run.parents[1].rglob("*") if ".tmp" in path.name] == []


def test_a_checkpoint_asks_for_no_card_of_trls(run):
    assert not list(run.rglob("README.md"))


def test_config_and_manifest_name_the_run(run, model):
    config = check_config(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
    assert config == load_config(tiny_overrides(run.parents[1], model))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["exit_state"] == "done"
    for fact in ("config_hash", "data_hash", "template_hash", "hazards_hash", "judge_id", "reference_hash", "wall_s"):
        assert manifest[fact] is not None, fact


OF_VLLM = {
    "train/importance_capped_frac",
    "train/importance_masked_frac",
    "train/sampler_gap_nats",
    "train/sync_gap_nats",
    "train/prefix_hit_frac",
}


OF_TWINS = {name for name in METRICS if name.startswith("probe/twins/")}


def test_every_step_is_recorded_under_registered_names(run):
    steps = rows(run / "train.jsonl")
    assert [row["step"] for row in steps] == [1, 2]
    names = {"step"} | {name for name in METRICS if name.startswith("train/")} - OF_VLLM
    # P(header) is measured between steps; after the last one the probe does it
    assert [set(row) for row in steps] == [names | OF_TWINS, names]
    # The policy is the reference until the first update, and no longer after it.
    assert abs(steps[0]["train/kl_nats"]) < 1e-6 < steps[1]["train/kl_nats"]


def test_every_completion_is_one_of_the_training_requests(run):
    (prepared,) = (path for path in (run.parents[1] / "data").iterdir() if path.is_dir())
    parts = [*read_requests(prepared / "train.jsonl"), *read_requests(prepared / "benign_train.jsonl")]
    training = {request.id: request.text for request in parts}
    for step in (1, 2):
        completions = rows(run / "completions" / f"step_{step:06d}.jsonl")
        assert len({row["request_id"] for row in completions}) == len(completions) == 4
        for row in completions:
            assert training[row["request_id"]] == row["request"]
            assert row["verdict"] in {"REFUSED", "COMPLIED", "UNSCORED"}
            assert (row["reward"] is None) == (row["verdict"] == "UNSCORED")


def test_the_probes_before_and_after_ask_the_same_requests_which_are_not_trained_on(run):
    before, after = rows(run / "probes" / "before.jsonl"), rows(run / "probes" / "after.jsonl")
    asked = [(row["set"], row["request_id"]) for row in before]
    assert asked == [(row["set"], row["request_id"]) for row in after]
    assert {name for name, _ in asked} == {"harmful", "harmless"} and len(asked) == 8
    (prepared,) = (path for path in (run.parents[1] / "data").iterdir() if path.is_dir())
    trained = {request.text for request in read_requests(prepared / "train.jsonl")}
    assert trained.isdisjoint(row["request"] for row in before)
    summaries = rows(run / "probes.jsonl")
    assert [(row["name"], row["step"]) for row in summaries] == [("before", 0), ("after", 2)]
    for row in summaries:
        assert OF_TWINS <= set(row) - {"name", "step"} <= set(METRICS)


def test_the_trained_model_is_another_one_and_loads(run, model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, trained = (AutoModelForCausalLM.from_pretrained(folder) for folder in (model, run / "final"))
    assert not first.lm_head.weight.equal(trained.lm_head.weight)
    assert all(bool(weight.isfinite().all()) for weight in trained.parameters())
    assert AutoTokenizer.from_pretrained(run / "final").eos_token == "<eot>"


def test_the_report_shows_this_run(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "tiny" in page and "did not finish" not in page
    assert json.loads((run / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_same_command_elsewhere_gives_the_same_run(run, model, tmp_path):
    assert main(tiny_overrides(tmp_path, model)) == 0
    for name in ("completions/step_000002.jsonl", "probes/after.jsonl"):
        assert (tmp_path / "runs" / "tiny" / name).read_bytes() == (run / name).read_bytes()
