"""Self-distillation: the student on the raw request, its frozen self on the cases (ours, after OPSA, 2605.15239)."""

from __future__ import annotations

from cada_trl.methods.cada import build_as
from cada_trl.methods.run import Record, Run
from cada_trl.trainers.self_distillation import SelfDistillationTrainer, distillation_rows


def build(run: Run, record: Record) -> SelfDistillationTrainer:
    """The trainer of a run. Errors: UserError for a batch that the requests do not fill."""
    return build_as(SelfDistillationTrainer, run, record, distillation_rows)
