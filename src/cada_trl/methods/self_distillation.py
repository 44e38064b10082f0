"""Self-distillation: the student on the raw request, its frozen self on the cases (ours, after OPSA, 2605.15239)."""

from __future__ import annotations

from cada_trl.methods.run import Record, Run
from cada_trl.models.load import load_policy
from cada_trl.trainers.arguments import cada_arguments, lora_config, rollout_dataset
from cada_trl.trainers.self_distillation import SelfDistillationTrainer, distillation_rows


def build(run: Run, record: Record) -> SelfDistillationTrainer:
    """The trainer of a run. Errors: UserError for a batch that the requests do not fill."""
    config, data = run.config, run.data
    # first: under ZeRO-3 loading splits by them
    args = cada_arguments(config, run.folder.checkpoints, data.train, data.benign_train)
    return SelfDistillationTrainer(
        model=load_policy(config.model, run.tokenizer),
        args=args,
        train_dataset=distillation_rows(rollout_dataset(config, data.train, data.benign_train, run.pack)),
        processing_class=run.tokenizer,
        score=run.score,
        record=record,
        peft_config=lora_config(config),
    )
