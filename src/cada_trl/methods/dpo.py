"""Direct preference optimisation on the raw request by TRL's DPOTrainer (paper, Baselines: DPO w CR).

Chosen: the model's own completion, on the template where the request is harmful. Rejected: the direct refusal.
"""

from __future__ import annotations

from typing import ClassVar

from trl import DPOConfig, DPOTrainer

from cada_trl.methods.on_targets import Row, message, train_on
from cada_trl.methods.run import Record, Run
from cada_trl.targets.keeping import Target, make_targets
from cada_trl.trainers.stock import Recorded


class RecordedDPO(Recorded, DPOTrainer):
    """DPOTrainer as it is: sigmoid loss against the frozen initial model."""

    names: ClassVar = {"rewards/margins": "dpo/margin", "rewards/accuracies": "dpo/accuracy_frac"}


def build(run: Run, record: Record) -> RecordedDPO:
    """The trainer of a run. Errors: UserError when no pair is left: targets dropped, or equal to the refusal."""
    rejected = str(run.config.algo.refusal_text)

    def row(target: Target) -> Row:
        answers = {"chosen": message("assistant", target.text), "rejected": message("assistant", rejected)}
        return {"prompt": message("user", target.request), **answers}

    targets = make_targets(run, unequal_to=rejected)
    return train_on(targets, row, RecordedDPO, DPOConfig, run, record, beta=run.config.algo.dpo_beta)
