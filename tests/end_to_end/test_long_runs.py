"""Runs that are killed, asked to stop or stopped by a tripwire, and go on by the same command."""

import json
import random
import signal
import time

import pytest
from safetensors.torch import load_file

from cada_trl.errors import StoppedByTripwire, UserError
from cada_trl.records import read_jsonl
from cada_trl.train import main
from cada_trl.training.checkpoints import COMPLETE_FILE

from .run_process import finish, interrupted, manifest, start, steps, wait_for_steps
from .tiny_model import save_tiny_model, tiny_overrides

N_STEPS = 16
LONG = [f"max_steps={N_STEPS}", "save_every_steps=2", "probe_every_steps=7", "header_every_steps=1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.mark.slow
def test_a_tripwire_that_stops_leaves_a_whole_checkpoint_and_the_run_goes_on_by_warn(model, tmp_path):
    overrides = [*tiny_overrides(tmp_path, model), "max_steps=3", "save_every_steps=3", "kl_jump_factor=0.0"]
    overrides.append("kl_jump_nats=0.0001")
    with pytest.raises(StoppedByTripwire, match="by the tripwire kl_jump at step 2"):
        main([*overrides, "kl_jump=stop"])
    run = tmp_path / "runs" / "tiny"
    assert manifest(run)["exit_state"].startswith("stopped: by the tripwire kl_jump at step 2")
    assert (run / "checkpoints" / "checkpoint-2" / COMPLETE_FILE).is_file()
    assert steps(run) == [1, 2] and not (run / "final").exists()
    assert main([*overrides, "kl_jump=warn"]) == 0
    assert steps(run) == [1, 2, 3] and manifest(run)["exit_state"] == "done"
    assert [row["action"] for _, row in read_jsonl(run / "tripwires.jsonl")] == ["stop"]
    assert "kl_jump (stop) at step 2" in (run / "report.html").read_text(encoding="utf-8")
    assert "Tripwire: kl_jump (stop) at step 2" in (run / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_stop_amid_steps_that_were_sampled_at_once_says_once_where_the_run_ends(model, tmp_path, capsys):
    overrides = [
        *tiny_overrides(tmp_path, model),
        "max_steps=8",
        "steps_per_rollout=4",
        "save_every_steps=4",
        "kl_jump=stop",
    ]
    with pytest.raises(StoppedByTripwire, match="by the tripwire kl_jump at step 2"):
        main([*overrides, "kl_jump_factor=0.0", "kl_jump_nats=0.0001"])
    assert steps(tmp_path / "runs" / "tiny") == [1, 2, 3, 4]
    assert capsys.readouterr().err.count("asked to stop: ends after step 4, the last") == 1


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_parameters_of_one_that_was_not(model, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*tiny_overrides(whole, model), *LONG]) == 0
    overrides, moments = [*tiny_overrides(broken, model), *LONG], random.Random(8)
    run = broken / "runs" / "tiny"
    for number in (signal.SIGKILL, signal.SIGUSR1):
        process = start(overrides)
        wait_for_steps(process, moments.randint(0, 3) if number is signal.SIGKILL else 1)
        time.sleep(moments.uniform(0.0, 0.2))
        process.send_signal(number)
        code, said = finish(process)
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 75), said
        if code == 75:
            assert said.splitlines()[-1].startswith(f"stopped: asked to by {number.name}, saved at step ")
            assert manifest(run)["exit_state"].startswith(f"stopped: asked to by {number.name}")
    assert main(overrides) == 0
    assert steps(run) == list(range(1, N_STEPS + 1))
    assert steps(run, "probes.jsonl") == [0, *range(7, N_STEPS, 7), N_STEPS]
    headers = [row["step"] for _, row in read_jsonl(run / "train.jsonl") if "probe/twins/header_auc" in row]
    assert headers == [step for step in range(1, N_STEPS) if step % 7]  # a probe has logged it at the others
    mine, theirs = (load_file(folder / "runs" / "tiny" / "final" / "model.safetensors") for folder in (broken, whole))
    assert mine.keys() == theirs.keys() and all(mine[name].equal(theirs[name]) for name in mine)


@pytest.mark.slow
def test_a_run_that_goes_on_from_its_last_steps_checkpoint_trains_no_step_more(model, tmp_path):
    run = tmp_path / "runs" / "tiny"
    overrides = tiny_overrides(tmp_path, model)  # two steps of a longer epoch
    assert main(overrides) == 0
    before = load_file(run / "final" / "model.safetensors")
    interrupted = {**manifest(run), "exit_state": "interrupted"}
    del interrupted["manifest_sha256"]
    (run / "manifest.json").write_text(json.dumps(interrupted))
    assert main(overrides) == 0
    after = load_file(run / "final" / "model.safetensors")
    assert steps(run) == [1, 2] and all(before[name].equal(after[name]) for name in before)


@pytest.mark.slow
def test_a_signal_stops_two_ranks_one_rank_does_not_go_on_and_two_do(model, tmp_path):
    overrides = [*tiny_overrides(tmp_path, model), "max_steps=8", "header_every_steps=0"]
    two = [*overrides, "launcher=accelerate", "accelerate_config=launch/cpu.yaml", "n_processes=2", "micro_batch=1"]
    run = tmp_path / "runs" / "tiny"
    code, said = interrupted(two, 1, signal.SIGTERM)
    assert code == 75, said
    # the launcher may pass it on as SIGUSR1
    assert manifest(run)["exit_state"].startswith("stopped: asked to by SIG") and len(steps(run)) < 8

    with pytest.raises(UserError, match=r"was saved by 2 process\(es\) and this run has 1; set n_processes=2"):
        main(overrides)

    code, said = finish(start(two))
    assert code == 0, said
    assert steps(run) == list(range(1, 9)) and manifest(run)["exit_state"] == "done"
    assert len([*read_jsonl(run / "completions" / "step_000008.jsonl")]) == 4
    assert (run / "report.html").is_file()
