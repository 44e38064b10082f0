"""CADA: rollouts on the template, REINFORCE on the raw request (paper: Objective)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from datasets import Dataset

from cada_trl.methods.run import Record, Run
from cada_trl.models.load import load_policy
from cada_trl.trainers.arguments import cada_arguments, lora_config, rollout_dataset
from cada_trl.trainers.cada import CADATrainer

AnyTrainer = TypeVar("AnyTrainer", bound=CADATrainer)


def build(run: Run, record: Record) -> CADATrainer:
    """The trainer of a run. Errors: UserError for a batch that the requests do not fill."""
    return build_as(CADATrainer, run, record)


def build_as(
    trainer_class: type[AnyTrainer], run: Run, record: Record, rows_of: Callable[[Dataset], Dataset] = lambda rows: rows
) -> AnyTrainer:
    """The same for a trainer that is built as CADA's; rows_of: CADA's dataset -> its own."""
    config, data = run.config, run.data
    # first: under ZeRO-3 loading splits by them
    args = cada_arguments(config, run.folder.checkpoints, data.train, data.benign_train)
    return trainer_class(
        model=load_policy(config.model, run.tokenizer),
        args=args,
        train_dataset=rows_of(rollout_dataset(config, data.train, data.benign_train, run.pack)),
        processing_class=run.tokenizer,
        score=run.score,
        record=record,
        peft_config=lora_config(config),
    )
