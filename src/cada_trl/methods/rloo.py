"""TRL's RLOOTrainer as it is: leave-one-out baseline, clipped sequence ratio, k1 in the reward."""

from __future__ import annotations

from trl import RLOOConfig, RLOOTrainer

from cada_trl.methods.on_rollouts import train_by
from cada_trl.methods.run import Record, Run
from cada_trl.trainers.stock import RecordedRollouts


class RecordedRLOO(RecordedRollouts, RLOOTrainer):
    """Learns on the prompt that it samples; TRL leaves out what the judge gave no verdict on."""


def build(run: Run, record: Record) -> RecordedRLOO:
    """The trainer of a run."""
    return train_by(RecordedRLOO, RLOOConfig, run, record)
