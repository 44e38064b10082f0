"""What SFT and DPO share: rows made of targets, in the steps of the run, under a trainer of TRL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from datasets import Dataset

from cada_trl.methods.run import Record, Run
from cada_trl.models.load import load_policy
from cada_trl.targets.keeping import Target
from cada_trl.trainers.arguments import lora_config, step_sampler, training_arguments
from cada_trl.trainers.stock import Recorded

Row = dict[str, list[dict[str, str]]]
AnyTrainer = TypeVar("AnyTrainer", bound=Recorded)


def train_on(
    targets: Sequence[Target],
    row: Callable[[Target], Row],
    trainer_class: type[AnyTrainer],
    arguments_class: Callable[..., Any],
    run: Run,
    record: Record,
    **arguments: Any,
) -> AnyTrainer:
    """The trainer of a run; row writes a target in the trainer's form, arguments are the method's own.

    As many steps as any method takes of this run: fewer targets are passed over more often.
    """
    config = run.config
    pair_of = {request.id: request.pair for request in (*run.data.train, *run.data.benign_train)}
    harmful, benign = (
        [pair_of[target.request_id] for target in targets if target.harmful == is_harmful]
        for is_harmful in (True, False)
    )
    shared = training_arguments(config, run.folder.checkpoints, len(run.data.train))
    args = arguments_class(**shared, max_length=None, **arguments)  # first: under ZeRO-3 loading splits by them
    return trainer_class(
        model=load_policy(config.model, run.tokenizer),
        args=args,
        train_dataset=Dataset.from_list([row(target) for target in targets]),
        processing_class=run.tokenizer,
        peft_config=lora_config(config),
        sampler=step_sampler(config, harmful, benign),
        record=record,
    )


def message(role: str, text: str) -> list[dict[str, str]]:
    """One message, as TRL's conversational forms want it."""
    return [{"role": role, "content": text}]
