"""SelfDistillationTrainer: a student, shown the raw request, learns what its frozen self says on seeing the cases.

After OPSA (arXiv 2605.15239). The student samples, and the loss is the KL between student and teacher at the prefixes
that it visited. CADATrainer's machinery with rewards of zero: what is left of its loss is the KL, and its reference is
the teacher.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from cada_trl.algo.packing import pack
from cada_trl.training import cada


def distillation_rows(rows: Dataset) -> Dataset:
    """CADA's rows with the rollout prompt handed to the teacher; the student samples on the prompt that it learns."""
    return Dataset.from_list(
        [
            {**row, "prompt": row["learn_prompt"], "prompt_arm": "none", "teacher_prompt": row["prompt"]}
            for row in rows.to_list()
        ]
    )


class SelfDistillationTrainer(cada.CADATrainer):
    """Samples and learns on `learn_prompt`, and is held to the reference's distribution on `prompt`.

    Rewards stand in the record and pay nothing: every completion counts alike, also one without a verdict.
    """

    per_rollout = (*cada.CADATrainer.per_rollout, "teacher_ids")

    def __init__(self, *, train_dataset: Dataset, **given: Any) -> None:
        super().__init__(train_dataset=distillation_rows(train_dataset), **given)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._reward_all_b = torch.zeros_like(self._reward_all_b)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rollouts = super()._generate_and_score_completions(inputs)
        rollouts["teacher_ids"] = self._tokenize_prompts([row["teacher_prompt"] for row in inputs])[0]
        return rollouts

    def _micro_batches(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        """Each with the same completions on the teacher's prompts: its tokens are those of the student's rows."""
        batches = super()._micro_batches(part)
        for batch in batches:
            prompts, completions = ([part[name][b] for b in batch["rows"]] for name in ("teacher_ids", "completions"))
            batch["ref_packed"] = pack(prompts, completions, self.args.share_prefix, self.args.device)
        return batches


build = partial(cada.build, trainer_class=SelfDistillationTrainer)
