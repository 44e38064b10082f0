"""Every method through the verb, on a tiny model: one folder, one record a step, exact resuming; and a new one."""

import json
import math
import shutil
import sys
import types

import pytest
from end_to_end.tiny_model import tiny_overrides, tiny_tokenizer

from cada_trl.config import run_config
from cada_trl.config.algo import METHODS, Method
from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.train import main
from cada_trl.training import stock
from cada_trl.training.run import BUILDERS

pytestmark = pytest.mark.slow

SAMPLING = ["grpo", "rloo", "self_distillation"]  # in every step
LONG = "max_new_tok=400"  # random weights write an end of turn about every 260 tokens


def overrides(folder, model, algo, *more):
    shared = [word for word in tiny_overrides(folder, model) if not word.startswith("baseline=")]
    groups = ["requests_per_step=2", "rollouts_per_request=2"]
    own = {"grpo": groups, "rloo": groups, "self_distillation": ["steps_per_rollout=1"]}
    return [f"algo={algo}", *shared, *own.get(algo, [LONG]), *more]


def rows(file):
    return [row for _, row in read_jsonl(file)]


def steps(run):
    return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in rows(run / "train.jsonl")]


@pytest.mark.parametrize("algo", ["sft_direct_refusal", "sft_cases", "dpo_cases", *SAMPLING])
def test_a_method_trains_reports_and_resumes_as_cada_does(tmp_path, tiny, algo):
    words = overrides(tmp_path, tiny, algo)
    assert main(words) == 0
    run = tmp_path / "runs" / "tiny"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["exit_state"] == "done"
    assert [row["step"] for row in rows(run / "train.jsonl")] == [1, 2]
    assert all(math.isfinite(row["train/loss"]) and row["train/grad_norm"] is not None for row in steps(run))
    for name in ("report.html", "probes/after.jsonl", "final/model.safetensors", "checkpoints/checkpoint-2"):
        assert (run / name).exists(), name
    assert ("targets" in manifest) == (algo not in SAMPLING)
    assert (run / "completions" / "step_000001.jsonl").is_file() == (algo in SAMPLING)

    whole, after = steps(run), (run / "probes" / "after.jsonl").read_bytes()
    shutil.rmtree(run / "checkpoints" / "checkpoint-2")
    manifest["exit_state"] = "interrupted"
    del manifest["manifest_sha256"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert main(words) == 0
    assert steps(run) == whole
    assert (run / "probes" / "after.jsonl").read_bytes() == after


@pytest.mark.parametrize(
    ("algo", "names"),
    [("grpo", ["kl_nats", "entropy_nats"]), ("rloo", ["kl_nats", "entropy_nats"]), ("sft_cases", ["entropy_nats"])],
)
def test_what_is_logged_does_not_depend_on_the_micro_batch(tmp_path, tiny, algo, names):
    no_probes = [LONG, "n_probe_harmful=0", "n_probe_harmless=0", "n_header_pairs=0", "lr=1e-2"]
    logged = []
    for micro_batch in (4, 1):
        assert main(overrides(tmp_path / str(micro_batch), tiny, algo, *no_probes, f"micro_batch={micro_batch}")) == 0
        rows_of_run = steps(tmp_path / str(micro_batch) / "runs" / "tiny")
        logged.append([row[f"train/{name}"] for row in rows_of_run for name in names])
    assert logged[0] == pytest.approx(logged[1], rel=1e-3)


def test_an_opening_is_learned_on_the_raw_request_and_without_an_end(tmp_path, tiny, monkeypatch):
    seen = []

    def train_on(targets, form, *_, **__):
        assert {(target.text, target.ended) for target in targets} == {("Sure", False)}
        row = form(targets[0])
        learned = row["input_ids"][row["completion_mask"].index(1) :]
        assert all(row["completion_mask"][-len(learned) :])
        seen.append((tiny_tokenizer().decode(row["input_ids"]), tiny_tokenizer().decode(learned)))
        raise UserError(targets[0].request)

    monkeypatch.setattr(stock, "train_on", train_on)
    words = overrides(tmp_path, tiny, "sft_direct_refusal", "targets=opening", "benign_frac=0.0", "refusal_text=Sure")
    with pytest.raises(UserError) as error:
        main(words)
    assert seen == [(f"<bos>user: {error.value}<eot>assistant: Sure", "Sure")]


def test_dpo_shows_whether_the_margin_is_a_gain_or_only_the_refusals_loss(tmp_path, tiny):
    main(overrides(tmp_path, tiny, "dpo_cases"))
    first, second = rows(tmp_path / "runs" / "tiny" / "train.jsonl")
    assert (first["dpo/chosen_reward"], first["dpo/rejected_reward"]) == (0, 0)  # the initial model against itself
    assert second["dpo/rejected_reward"] < 0
    assert second["dpo/margin"] == pytest.approx(second["dpo/chosen_reward"] - second["dpo/rejected_reward"], abs=1e-4)


def test_targets_are_sampled_once_for_all_methods_that_learn_from_them(tmp_path, tiny, capsys):
    main(overrides(tmp_path, tiny, "sft_cases", "run_name=one", "max_steps=1"))
    (folder,) = (tmp_path / "data").glob("targets-*")
    samples = (folder / "samples.jsonl").read_bytes()
    assert "sampling targets" in capsys.readouterr().err
    main(overrides(tmp_path, tiny, "dpo_cases", "run_name=two", "max_steps=1"))
    assert "sampling targets" not in capsys.readouterr().err
    assert (folder / "samples.jsonl").read_bytes() == samples
    report = json.loads((tmp_path / "runs" / "one" / "manifest.json").read_text())["targets"]
    for part in ("harmful", "harmless"):
        assert report[part]["kept"] + sum(report[part]["dropped"].values()) == report[part]["sampled"]


def test_sampling_goes_on_where_it_was_killed(tmp_path, tiny):
    main(overrides(tmp_path, tiny, "sft_cases", "run_name=one"))
    (folder,) = (tmp_path / "data").glob("targets-*")
    whole = (folder / "samples.jsonl").read_bytes()
    (folder / "manifest.json").unlink()
    (folder / "samples.jsonl").write_bytes(whole[: len(whole) // 2])  # torn inside a line
    main(overrides(tmp_path, tiny, "sft_cases", "run_name=two"))
    again = {row["request_id"]: row for row in rows(folder / "samples.jsonl")}
    assert again == {row["request_id"]: row for row in map(json.loads, whole.splitlines())}


def test_a_kept_set_that_is_empty_ends_the_run_with_the_reasons(tmp_path, tiny):
    with pytest.raises(UserError, match=r"no target is left for harmful requests: kept 0 of \d+ samples \(dropped: "):
        main(overrides(tmp_path, tiny, "rejection_sft"))
    manifest = json.loads((tmp_path / "runs" / "tiny" / "manifest.json").read_text())
    assert manifest["exit_state"].startswith("failed: no target is left")
    assert manifest["targets"]["harmful"]["kept"] == 0


TOY = """\
defaults:
  - sft_direct_refusal@_here_
  - _self_
method: toy
"""


def test_a_new_method_is_one_function_two_lines_and_one_configuration(tmp_path, tiny, monkeypatch):
    from cada_trl.training.stock import RecordedSFT, SFTConfig, message, train_on
    from cada_trl.training.targets import make_targets

    def build(run, record):
        def row(target):
            return {"prompt": message("user", target.request), "completion": message("assistant", "No.")}

        return train_on(make_targets(run), row, RecordedSFT, SFTConfig, run, record)

    module = types.ModuleType("toy_method")
    module.build = build
    monkeypatch.setitem(sys.modules, "toy_method", module)
    monkeypatch.setitem(BUILDERS, "toy", "toy_method:build")
    monkeypatch.setitem(METHODS, "toy", Method(METHODS["sft"].reads))
    conf = tmp_path / "hydra_conf"
    shutil.copytree(run_config.CONF_DIR, conf)
    (conf / "algo" / "toy.yaml").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(run_config, "CONF_DIR", conf)
    assert main(overrides(tmp_path, tiny, "toy", "lr=1e-2")) == 0
    losses = [row["train/loss"] for row in steps(tmp_path / "runs" / "tiny")]
    assert losses[1] < losses[0]
