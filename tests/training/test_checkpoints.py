"""A run that was cut off anywhere ends with the very weights of one that was not."""

import pytest
from transformers import TrainerCallback

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.training.cada import CADATrainer
from cada_trl.training.checkpoints import COMPLETE_FILE, check_same_hardware, mark_complete, newest_complete

from .preset_run import cada_trainer, distance, load, weights

# The rollouts of two steps sampled at once, and harmless requests as anchors beside their harmful twins.
IN_BLOCKS = {"steps_per_rollout": 2, "benign_tok": 2, "twin_of": {0: 3, 1: 4}}


class _CutOff(Exception):
    pass


class _CutOffAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            raise _CutOff


def start(folder, output, die_at=None, die_saving=None, save_steps=2, **changes):
    """Train on from the newest complete checkpoint to the end state; cut off before a step or half through a save.

    Real sampling. Three harmful and two harmless requests, one of each a step, two rollouts each: three steps an epoch,
    so steps 0-2 are epoch 1 and 3-6 go on to epoch 3; a checkpoint every second step.
    """

    class Saving(CADATrainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            if self.state.global_step == die_saving:
                raise _CutOff
            super()._save_optimizer_and_scheduler(output_dir)

    trainer, records = cada_trainer(
        folder,
        output,
        n_requests=5,
        n_harmless=2,
        benign_per_step=1,
        micro=(2, 2),
        trainer_class=Saving,
        sgd_lr=None,
        learning_rate=1e-2,
        lr_scheduler_type="linear",
        baseline="running",
        target_kl_nats=0.05,
        max_steps=7,
        save_strategy="steps",
        save_steps=save_steps,
        callbacks=[_CutOffAt(die_at)],
        **changes,
    )
    found = newest_complete(output)
    trainer.train(resume_from_checkpoint=None if found is None else str(found[0]))
    return {
        "weights": weights(trainer.model),
        "means": trainer.baselines.state(),
        "beta": trainer.beta_kl,
        "save_steps": trainer.state.save_steps,
        "requests": {step: [row["request_id"] for row in rows] for step, _, rows in records},
    }


@pytest.fixture(scope="module")
def uninterrupted(tiny_folder, tmp_path_factory):
    """The state at the end of a run that nothing stopped."""
    return start(tiny_folder, tmp_path_factory.mktemp("whole"))


def _assert_same_end(state, whole):
    assert distance(state["weights"], whole["weights"]) == 0.0
    assert state["means"] == whole["means"]
    assert state["beta"] == whole["beta"]
    assert state["requests"].items() <= whole["requests"].items()


@pytest.fixture(scope="module")
def uninterrupted_in_blocks(tiny_folder, tmp_path_factory):
    """The same where the rollouts of two steps are sampled at once."""
    return start(tiny_folder, tmp_path_factory.mktemp("blocks"), **IN_BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "point", "resumed_from"),
    [
        ({}, {"die_at": 1}, None),  # before the first checkpoint: from the beginning
        ({}, {"die_at": 2}, 2),  # epoch 1
        ({}, {"die_at": 3}, 2),  # the boundary of epochs 1 and 2
        ({}, {"die_at": 5}, 4),  # epoch 2
        ({}, {"die_at": 6}, 6),  # the boundary of epochs 2 and 3
        ({}, {"die_saving": 2}, None),
        ({}, {"die_saving": 4}, 2),
        (IN_BLOCKS, {"die_at": 2}, 2),  # between two samplings
        (IN_BLOCKS, {"die_at": 3}, 2),  # between two steps of one sampling
        (IN_BLOCKS, {"die_at": 5}, 4),  # the same, in epoch 2: four steps make an epoch
        (IN_BLOCKS, {"die_saving": 4}, 2),
    ],
)
def test_a_run_cut_off_ends_as_one_that_was_not(request, tiny_folder, tmp_path, changes, point, resumed_from):
    with pytest.raises(_CutOff):
        start(tiny_folder, tmp_path, **point, **changes)
    found = newest_complete(tmp_path)
    assert (found and found[1]) == resumed_from
    state = start(tiny_folder, tmp_path, **changes)
    assert min(state["requests"]) == (resumed_from or 0) + 1
    _assert_same_end(state, request.getfixturevalue("uninterrupted_in_blocks" if changes else "uninterrupted"))


def test_the_runs_that_are_compared_learn_something_and_differ(uninterrupted, uninterrupted_in_blocks, tiny_folder):
    assert distance(uninterrupted_in_blocks["weights"], uninterrupted["weights"]) > 1e-3
    assert distance(uninterrupted["weights"], weights(load(tiny_folder))) > 1e-2
    assert uninterrupted["beta"] != 0.3
    assert len({tuple(requests) for requests in uninterrupted["requests"].values()}) > 3


@pytest.mark.slow
def test_a_run_that_goes_on_saves_as_often_as_it_is_told_now(tiny_folder, tmp_path):
    with pytest.raises(_CutOff):
        start(tiny_folder, tmp_path, die_at=5)
    assert start(tiny_folder, tmp_path, save_steps=3)["save_steps"] == 3


FILES = ("model.safetensors", "optimizer.pt", "global_step2/rng_state.pth")


def _saved(folder, step, n_processes=1, zero_stage=0, is_bf16=None):
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "global_step2").mkdir(parents=True)
    for name in FILES:
        (checkpoint / name).write_bytes(b"weights")
    mark_complete(checkpoint, step, n_processes, zero_stage, is_bf16)
    return checkpoint


def test_the_newest_whole_checkpoint_is_found_and_others_are_removed_and_nothing_else(tmp_path):
    assert newest_complete(tmp_path / "absent") is newest_complete(tmp_path) is None
    for step in (2, 10, 8):
        _saved(tmp_path, step)
    for name in ("checkpoint-12", "completions"):
        (tmp_path / name).mkdir()
    assert newest_complete(tmp_path) == (tmp_path / "checkpoint-10", 10)
    names = ["checkpoint-10", "checkpoint-2", "checkpoint-8", "completions"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


MARKS_OF_ANOTHER_FORM = ['{"step": 4, "n_', "[]", "{}", '{"step": "4"}', '{"step": 4, "bytes": []}']


@pytest.mark.parametrize("damage", ["torn", "lost", *MARKS_OF_ANOTHER_FORM])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(tmp_path, damage):
    _saved(tmp_path, 2)
    newest, said = _saved(tmp_path, 4), []
    weights_file = newest / "model.safetensors"
    if damage == "torn":
        weights_file.write_bytes(b"wei")
    elif damage == "lost":
        weights_file.unlink()
    else:
        (newest / COMPLETE_FILE).write_text(damage)
    assert newest_complete(tmp_path, tidy=False) == (tmp_path / "checkpoint-2", 2)
    assert newest.exists()
    assert newest_complete(tmp_path, say=said.append) == (tmp_path / "checkpoint-2", 2)
    assert len(said) == 1 and "checkpoint-4 is not whole" in said[0] and not newest.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_right_size_and_wrong_content_is_one_line_and_stays(tmp_path, name):
    _saved(tmp_path, 2)
    newest = _saved(tmp_path, 4)
    file = newest / name
    file.write_bytes(b"another")
    with pytest.raises(UserError) as error:
        newest_complete(tmp_path)
    assert str(error.value) == (
        f"{file} is not what the run saved; delete {newest}, and the same command goes on from the checkpoint before, "
        "or begins again where there is none"
    )
    assert file.read_bytes() == b"another"


_TWO = ["n_processes=2", "launcher=accelerate", "micro_batch=1", "accelerate_config=launch/cpu.yaml"]
_ZERO2 = [*_TWO, "accelerate_config=launch/cpu_zero2.yaml"]


@pytest.mark.parametrize(
    ("saved", "now", "words"),
    [
        ((4, 0), _TWO, r"saved by 4 process\(es\) and this run has 2; set n_processes=4"),
        ((2, 3), _ZERO2, "saved under ZeRO stage 3 and this run has stage 2"),
        ((2, 3), _TWO, "saved under ZeRO stage 3 and this run has stage 0"),
        ((2, 0), _ZERO2, "saved under ZeRO stage 0 and this run has stage 2"),
        ((1, 0, False), ["bf16=true"], "saved with bf16=false and this run has bf16=true; set bf16=false, or choose"),
    ],
)
def test_other_ranks_another_split_of_the_optimiser_and_another_precision_are_refused(tmp_path, saved, now, words):
    checkpoint = _saved(tmp_path, 2, *saved)
    with pytest.raises(UserError, match=words):
        check_same_hardware(checkpoint, load_config(now).hardware)


@pytest.mark.parametrize("is_bf16", [False, None])  # None: saved before it was recorded
def test_the_same_hardware_goes_on(tmp_path, is_bf16):
    check_same_hardware(_saved(tmp_path, 2, 1, 0, is_bf16), load_config(["bf16=false"]).hardware)
