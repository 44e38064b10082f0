"""The train verb when something goes wrong, on a tiny model: one line says what, and nothing that was done is lost."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest
from end_to_end.tiny_model import save_tiny_model, tiny_overrides
from jobs.stub_verb import write_run

from cada_trl import train as verb
from cada_trl.config import load_config
from cada_trl.errors import StoppedByTripwire, UserError
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict, read_jsonl
from cada_trl.storage.digest import file_sha256
from cada_trl.tracking.progress import StepProgress
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.train import main


@pytest.fixture
def overrides(tmp_path, tiny):
    return tiny_overrides(tmp_path, tiny)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """A folder with the finished run of two steps below it; never written to."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(tiny_overrides(folder, tiny)) == 0
    return folder


@pytest.fixture
def untrainable(monkeypatch):
    """A test with it fails if anything is trained."""
    monkeypatch.setattr(verb, "_train_and_probe", lambda run: pytest.fail("it trains"))


def manifest(folder):
    return json.loads((folder / "runs" / "tiny" / "manifest.json").read_text(encoding="utf-8"))


def steps(folder):
    """What train.jsonl holds, without the times."""
    rows = [row for _, row in read_jsonl(folder / "runs" / "tiny" / "train.jsonl")]
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in rows]


def completions(folder):
    files = sorted((folder / "runs" / "tiny" / "completions").glob("*.jsonl"))
    return [row["completion"] for file in files for _, row in read_jsonl(file)]


# Where it cannot begin


@pytest.mark.parametrize("key", ["runs_dir", "data_dir"])
def test_a_folder_that_is_a_file_is_refused(overrides, tmp_path, key, untrainable):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot write .*file.*: Not a directory; .*choose another"):
        main([*overrides, f"{key}={tmp_path / 'file' / 'below'}"])


@pytest.mark.parametrize(("hardware", "n_gpu"), [("gpu", 1), ("a100x4", 4)])
def test_a_gpu_that_is_not_here_is_said_before_anything_is_loaded(overrides, tmp_path, hardware, n_gpu, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    words = [*overrides, f"hardware={hardware}", "micro_batch=1"]
    with pytest.raises(UserError, match=rf"{n_gpu} CUDA GPU\(s\) wanted, 0 seen; choose another hardware="):
        main(words)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "data").exists()


def test_of_several_gpus_a_run_without_a_launcher_sees_one(overrides, monkeypatch):
    seen = []
    monkeypatch.setattr(verb, "train", lambda config: seen.append(os.environ.get("CUDA_VISIBLE_DEVICES")))
    for words, visible in (
        (["hardware=gpu", "micro_batch=2"], None),
        (["hardware=gpu", "micro_batch=2"], "4,5"),
        ([], None),
    ):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert main([*overrides, *words]) == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seen == ["0", "4", None]


def test_the_configuration_alone_says_the_precision_whatever_the_launch_file_does(overrides, monkeypatch):
    from transformers import TrainingArguments

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as accelerate exports it
    seen = []

    def train(config):
        arguments = TrainingArguments(bf16=config.hardware.bf16, use_cpu=True, report_to="none")
        seen.append(arguments.mixed_precision)

    monkeypatch.setattr(verb, "train", train)
    for bf16 in ("false", "true"):
        assert main([*overrides, f"bf16={bf16}"]) == 0
    assert seen == ["no", "bf16"]


def test_a_prompt_that_leaves_no_room_is_refused_before_the_model_is_loaded(overrides):
    with pytest.raises(UserError, match=r"tokens with prompt and completion, 400 there; lower max_prompt_tok"):
        main([*overrides, "context_tok=400", "max_prompt_tok=300", "prompt=cases"])


@pytest.mark.parametrize(
    ("target", "seen"), [("q_proj", "no module"), ("'.*(q_proj'", "no module"), ("'.*norm'", "other modules too")]
)
def test_lora_modules_that_the_model_lacks_are_said_beside_those_it_has(overrides, target, seen):
    with pytest.raises(UserError) as error:
        main([*overrides, "peft=lora", f"target_modules={target}"])
    assert f"matches {seen}; this model has down_proj, embed_tokens, gate_proj, k_proj" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "is_tied"), [("lm_head", False), ("lm_head", True), ("model.embed_tokens", True)])
def test_lora_on_the_head_or_on_its_weight_is_refused(overrides, name, is_tied, monkeypatch):
    from cada_trl.training import run

    load = run.load_policy

    def loaded(*asked):
        policy = load(*asked)
        policy.lm_head.weight = policy.model.embed_tokens.weight if is_tied else policy.lm_head.weight
        return policy

    monkeypatch.setattr(run, "load_policy", loaded)
    with pytest.raises(UserError, match=rf"matches {name}; the head takes no adapter"):
        main([*overrides, "peft=lora", f"target_modules='.*(q_proj|{name.rpartition('.')[2]})'"])


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(overrides, tmp_path, untrainable):
    with RunFolder(tmp_path / "runs" / "tiny"):
        with pytest.raises(UserError, match=rf"in use by another run \(pid and host: {os.getpid()} "):
            main(overrides)
        assert not (tmp_path / "runs" / "tiny" / "manifest.json").exists()


# Where it is done already


@pytest.mark.slow
def test_a_finished_run_called_again_is_reported_and_not_trained(finished, tiny, capsys, untrainable):
    before = manifest(finished)
    assert main(tiny_overrides(finished, tiny)) == 0
    said = capsys.readouterr().err
    assert "done already" in said and str(finished / "runs" / "tiny" / "report.html") in said
    assert manifest(finished) == before


def test_a_finished_run_that_is_asked_for_in_another_precision_says_its_own(finished, tiny, capsys, untrainable):
    assert main([*tiny_overrides(finished, tiny), "bf16=true"]) == 0
    assert "is done already with bf16=false: nothing is trained again" in capsys.readouterr().err


def test_a_finished_run_is_reported_where_its_gpus_are_not(finished, tiny, untrainable, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main([*tiny_overrides(finished, tiny), "hardware=gpu", "micro_batch=2", "bf16=false"]) == 0


def test_a_finished_run_is_reported_where_its_vllm_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(verb, "is_done", lambda *_, **__: True)
    monkeypatch.setattr(verb, "prepare_vllm", Mock(side_effect=UserError("vllm is not installed")))
    monkeypatch.setattr(verb, "train", reported := Mock())
    assert main([f"runs_dir={tmp_path}", "rollout=vllm_colocate"]) == 0
    reported.assert_called_once()


def test_a_finished_run_whose_own_requests_were_edited_since_is_refused_and_one_whose_are_gone_is_reported(
    tmp_path, monkeypatch
):
    file = tmp_path / "mine.jsonl"
    file.write_text("first")
    words = ["data=jsonl", f"file={file}", "n_train=5", "n_probe=2", "run_name=tiny", f"runs_dir={tmp_path / 'runs'}"]
    monkeypatch.setattr(verb, "_report", lambda path: path)
    data = {"inputs": {"sha256": {"file": file_sha256(file)}}}
    run = write_run(load_config(words))
    (run / "manifest.json").write_text(json.dumps(manifest(tmp_path) | {"data": data}))
    assert main(words) == 0
    file.write_text("second")
    with pytest.raises(UserError, match=r"the request set is another one than when .*tiny began; restore it, or"):
        main(words)
    file.unlink()
    assert main(words) == 0


@pytest.mark.parametrize("change", ["lr=1e-4", "seed=1", "max_steps=3"])
def test_another_run_under_the_same_name_is_refused(finished, tiny, change, untrainable):
    with pytest.raises(UserError, match=r"holds another run \(config .*\); choose another run_name or move the folder"):
        main([*tiny_overrides(finished, tiny), change])


@pytest.mark.parametrize("text", ["", "[]", '{"config_hash": "x"}'])
def test_a_damaged_manifest_is_not_written_over(overrides, tmp_path, text, untrainable):
    file = tmp_path / "runs" / "tiny" / "manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.json cannot be read; move the folder away"):
        main(overrides)
    assert file.read_text(encoding="utf-8") == text


# Where it breaks off


def break_off_at(step):
    """A StepProgress.update that Ctrl-C meets: the step's lines are written, its checkpoint is not."""

    def update(self, at, metrics):
        if at == step:
            raise KeyboardInterrupt

    return update


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2])  # before its first checkpoint, and after it
def test_an_interrupted_run_goes_on_and_ends_like_one_that_was_not(finished, overrides, tmp_path, monkeypatch, step):
    with monkeypatch.context() as interrupted:
        interrupted.setattr(StepProgress, "update", break_off_at(step))
        with pytest.raises(KeyboardInterrupt):
            main(overrides)
    assert manifest(tmp_path)["exit_state"] == "interrupted"
    assert [row["step"] for row in steps(tmp_path)] == [1, 2][:step]
    assert main(overrides) == 0
    assert manifest(tmp_path)["exit_state"] == "done"
    assert steps(tmp_path) == steps(finished)
    assert completions(tmp_path) == completions(finished)
    assert [row["name"] for _, row in read_jsonl(tmp_path / "runs" / "tiny" / "probes.jsonl")] == ["before", "after"]


def test_a_run_does_not_go_on_from_another_model_under_the_same_path(tmp_path, monkeypatch):
    def break_off(*_):
        raise RuntimeError("broken off")

    monkeypatch.setattr(verb, "_train_and_probe", break_off)
    overrides = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken off"):
            main(overrides)
    save_tiny_model(tmp_path / "model", seed=7)
    with pytest.raises(UserError, match=r"the initial model is another one than when .* began"):
        main(overrides)


def fill_disk_for_weights(monkeypatch):
    import transformers.modeling_utils
    from safetensors import SafetensorError

    whole = transformers.modeling_utils.safe_save_file

    def save(tensors, file, *rest, **more):
        if "checkpoint-2" in str(file):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        whole(tensors, file, *rest, **more)

    monkeypatch.setattr(transformers.modeling_utils, "safe_save_file", save)


def fill_disk_for_the_optimizer(monkeypatch, error):
    import torch

    whole = torch.save

    def save(what, file, *rest, **more):
        if "checkpoint-2" in str(file):
            raise error
        whole(what, file, *rest, **more)

    monkeypatch.setattr(torch, "save", save)


DISK_FULL = {
    "weights": fill_disk_for_weights,
    "optimizer": lambda patch: fill_disk_for_the_optimizer(patch, OSError(errno.ENOSPC, "No space left on device")),
    "optimizer, in torch's words": lambda patch: fill_disk_for_the_optimizer(
        patch, RuntimeError("PytorchStreamWriter failed writing file data/2: file write failed")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DISK_FULL)
def test_a_disk_that_fills_up_while_saving_leaves_the_checkpoint_before(
    finished, overrides, tmp_path, monkeypatch, what
):
    with monkeypatch.context() as full:
        DISK_FULL[what](full)
        with pytest.raises(UserError, match=r"cannot save to .*checkpoints: no space left; free some") as error:
            main(overrides)
    assert "\n" not in str(error.value)
    checkpoints = tmp_path / "runs" / "tiny" / "checkpoints"
    assert [path.parent.name for path in checkpoints.glob("*/complete.json")] == ["checkpoint-1"]
    assert manifest(tmp_path)["exit_state"].startswith("failed: cannot save to ")
    assert main(overrides) == 0
    assert steps(tmp_path) == steps(finished)


def test_where_the_end_cannot_be_written_either_the_first_error_is_shown(overrides, monkeypatch):
    for name, said in (("_train_and_probe", "cannot save to checkpoints"), ("_end", "cannot write manifest.json")):
        monkeypatch.setattr(verb, name, Mock(side_effect=UserError(said)))
    with pytest.raises(UserError, match="cannot save to checkpoints"):
        main(overrides)


@pytest.mark.slow
def test_another_error_in_training_keeps_its_traceback_and_is_noted(overrides, tmp_path, monkeypatch):
    def update(self, step, metrics):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(StepProgress, "update", update)
    with pytest.raises(RuntimeError, match="first line"):
        main(overrides)
    assert manifest(tmp_path)["exit_state"] == "failed: first line"


def test_a_judge_that_labels_no_refusal_is_refused_before_anything_is_written(overrides, tmp_path):
    with pytest.raises(UserError, match="judge=harmbench labels harm and the reward pays refusal"):
        main([*overrides, "judge=harmbench"])
    assert not (tmp_path / "runs").exists()


class FixedJudge:
    """Gives one verdict as many times as it is asked to, and then fails."""

    id = "fixed"

    def __init__(self, verdict, n_times):
        self.verdict, self.n_left = verdict, n_times

    def judge(self, pairs):
        self.n_left -= 1
        if self.n_left < 0:
            raise UserError("the judge cannot be reached; try again")
        return [Judged(self.verdict, raw="", reason="") for _ in pairs]


@pytest.mark.slow
def test_a_judge_that_fails_stops_the_run_and_no_reward_is_made_up(overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "make_judge", lambda *_: FixedJudge(Verdict.COMPLIED, 2))  # once a set of the first probe
    with pytest.raises(UserError, match="the judge cannot be reached"):
        main(overrides)
    assert manifest(tmp_path)["exit_state"] == "failed: the judge cannot be reached; try again"
    assert not (tmp_path / "runs" / "tiny" / "train.jsonl").exists()


@pytest.mark.slow
def test_a_run_without_a_single_verdict_learns_nothing_and_says_so(overrides, tmp_path, tiny, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setattr(verb, "make_judge", lambda *_: FixedJudge(Verdict.UNSCORED, 999))
    line = r"by the tripwire silent_judge at step 1: no completion .* has a verdict: .*; silent_judge=warn goes on"
    with pytest.raises(StoppedByTripwire, match=line):
        main(overrides)
    assert manifest(tmp_path)["exit_state"].startswith("stopped: by the tripwire silent_judge at step 1")
    assert (tmp_path / "runs" / "tiny" / "checkpoints" / "checkpoint-1" / "complete.json").is_file()
    assert main([*overrides, "silent_judge=warn"]) == 0
    for row in steps(tmp_path):
        assert (row["train/reward_mean"], row["train/unscored_frac"], row["train/loss"]) == (None, 1.0, 0.0)
    trained = load_file(tmp_path / "runs" / "tiny" / "final" / "model.safetensors")
    for name, weight in load_file(tiny / "model.safetensors").items():
        assert weight.equal(trained[name]), name


@pytest.mark.slow
def test_ctrl_c_ends_the_process_with_130_and_the_same_command_goes_on(tiny, tmp_path, capfd):
    long = ["max_steps=40", "save_every_steps=2", "header_every_steps=0"]
    command = [sys.executable, "-m", "cada_trl.train", *tiny_overrides(tmp_path, tiny), *long]
    # a shell's background job ignores Ctrl-C, and its children would, too
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c) as process:  # noqa: PLW1509
        assert process.stderr is not None
        said = []
        interrupted = False
        for line in iter(process.stderr.readline, ""):
            said.append(line)
            # fast steps are not all shown
            if not interrupted and (shown := re.match(r"step (\d+)/", line)) and int(shown[1]) >= 3:
                process.send_signal(signal.SIGINT)
                interrupted = True
    assert process.returncode == 130, said
    assert said[-1] == "interrupted: the same command goes on with what was kept\n"
    assert manifest(tmp_path)["exit_state"] == "interrupted"
    capfd.readouterr()
    assert main(command[3:]) == 0
    assert [row["step"] for row in steps(tmp_path)] == list(range(1, 41))
    assert "step 1/40" not in capfd.readouterr().err


def _heed_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
