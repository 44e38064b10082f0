"""Supervised fine-tuning on targets, raw request in, by TRL's SFTTrainer (paper, Baselines: SFT w DR, w S_c, w CR)."""

from __future__ import annotations

from typing import ClassVar

from trl import SFTConfig, SFTTrainer

from cada_trl.methods.on_targets import Row, message, train_on
from cada_trl.methods.run import Record, Run
from cada_trl.targets.keeping import Target, make_targets
from cada_trl.trainers.stock import Recorded


class RecordedSFT(Recorded, SFTTrainer):
    """SFTTrainer as it is: cross-entropy of the targets' tokens, a mean over the tokens of a step."""

    names: ClassVar = {"entropy": "train/entropy_nats"}


def build(run: Run, record: Record) -> RecordedSFT:
    """The trainer of a run. Errors: UserError when no target was kept."""
    return train_on(make_targets(run), row, RecordedSFT, SFTConfig, run, record)


def row(target: Target) -> Row:
    """TRL's prompt-completion form: only the completion is learned."""
    return {"prompt": message("user", target.request), "completion": message("assistant", target.text)}
