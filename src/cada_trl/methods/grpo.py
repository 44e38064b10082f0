"""TRL's GRPOTrainer as it is: group-normalised advantages, clipped ratio, k3 in the loss."""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer

from cada_trl.methods.on_rollouts import train_by
from cada_trl.methods.run import Record, Run
from cada_trl.trainers.stock import RecordedRollouts


class RecordedGRPO(RecordedRollouts, GRPOTrainer):
    """Learns on the prompt that it samples; TRL leaves out what the judge gave no verdict on."""


def build(run: Run, record: Record) -> RecordedGRPO:
    """The trainer of a run."""
    return train_by(RecordedGRPO, GRPOConfig, run, record)
