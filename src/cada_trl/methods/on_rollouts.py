"""What TRL's GRPO and RLOO share here: CADA's prompts and reward under TRL's own trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cada_trl.methods.run import Record, Run
from cada_trl.models.load import load_policy
from cada_trl.trainers.arguments import (
    lora_config,
    pairs_of,
    rollout_arguments,
    rollout_dataset,
    step_sampler,
    training_arguments,
)
from cada_trl.trainers.stock import RecordedRollouts

AnyTrainer = TypeVar("AnyTrainer", bound=RecordedRollouts)


def train_by(
    trainer_class: type[AnyTrainer], arguments_class: Callable[..., Any], run: Run, record: Record
) -> AnyTrainer:
    """The trainer of a run. Errors: UserError for a batch that the requests do not fill."""
    config, n_harmful = run.config, len(run.data.train)
    rows = rollout_dataset(config, run.data.train, run.data.benign_train, run.pack)
    benign = run.data.benign_train if len(rows) > n_harmful else []
    args = arguments_class(
        **training_arguments(config, run.folder.checkpoints, n_harmful),
        **rollout_arguments(config),
        beta=config.algo.beta_kl,
        num_generations=config.algo.rollouts_per_request,
    )
    return trainer_class(
        model=load_policy(config.model, run.tokenizer),
        args=args,
        train_dataset=rows,
        processing_class=run.tokenizer,
        peft_config=lora_config(config),
        sampler=step_sampler(config, pairs_of(run.data.train), pairs_of(benign), args.gradient_accumulation_steps),
        score=run.score,
        record=record,
    )
