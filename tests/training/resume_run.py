"""A run with real sampling that can be told to die at a point: steps of two epochs, a checkpoint every second step.

Six requests, two a step and two rollouts each: three steps an epoch, so steps 0-2 are epoch 1 and 3-6 go on to epoch 3.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from transformers import TrainerCallback

from cada_trl.training.cada import CADATrainer
from cada_trl.training.checkpoints import newest_complete

from .preset_run import cada_trainer, weights

N_STEPS = 7


class _DieAt(TrainerCallback):
    def __init__(self, step, die):
        self.step, self.die = step, die

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            self.die()


# The rollouts of two steps sampled at once, and harmless requests as anchors beside their harmful twins.
IN_BLOCKS = {"steps_per_rollout": 2, "benign_tok": 2, "twin_of": {0: 3, 1: 4}}


def start(folder, output, die, die_at=None, die_saving=None, save_steps=2, **changes):
    """Train on from the newest complete checkpoint to the end state; die before a step or half through a save."""

    class Dying(CADATrainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            if self.state.global_step == die_saving:
                die()
            super()._save_optimizer_and_scheduler(output_dir)

    trainer, records = cada_trainer(
        folder,
        output,
        n_requests=5,
        n_harmless=2,
        n_harmful=3,
        benign_per_step=1,
        micro=(2, 2),
        trainer_class=Dying,
        sgd_lr=None,
        learning_rate=1e-2,
        lr_scheduler_type="linear",
        baseline="running",
        target_kl_nats=0.05,
        max_steps=N_STEPS,
        save_strategy="steps",
        save_steps=save_steps,
        callbacks=None if die_at is None else [_DieAt(die_at, die)],
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


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    model_folder, run_folder, point, at = sys.argv[1:]
    finished = start(model_folder, Path(run_folder), _kill, **({point: int(at)} if point != "end" else {}))
    torch.save(finished, Path(run_folder) / "end.pt")
