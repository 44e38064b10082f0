"""Real sampling: the shared cases change nothing, neither for a full policy nor for an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode
from trl import GRPOTrainer

from cada_trl.trainers.cada import CADATrainer

from .preset_run import cada_trainer, distance, request_rows, weights


def _lora() -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")


@pytest.mark.parametrize("adapter", [None, _lora])
def test_where_the_temperature_leaves_no_choice_rollouts_are_trls_own(
    tiny_folder: str, tmp_path: Path, adapter: Any
) -> None:
    torch.manual_seed(0)
    trainer, _ = cada_trainer(
        tiny_folder,
        tmp_path,
        trainer_class=CADATrainer,
        peft_config=adapter and adapter(),
        max_completion_length=12,
        temperature=1e-4,
    )
    trainer.model.train()
    trainer._rows = [row for row in request_rows(4) for _ in range(2)]
    prompt_ids = trainer._tokenize_prompts([row["prompt"] for row in trainer._rows])[0]
    drawn = []
    for sample in (CADATrainer._generate_single_turn, GRPOTrainer._generate_single_turn):
        torch.manual_seed(1)
        drawn.append(sample(trainer, prompt_ids, None, {}, 2)[0])
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn[0]}) > 1


def test_an_adapter_trains_on_its_own_rollouts(tiny_folder: str, tmp_path: Path) -> None:
    trainer, records = cada_trainer(
        tiny_folder,
        tmp_path,
        trainer_class=CADATrainer,
        peft_config=LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        learning_rate=1e-2,
    )
    before = weights(trainer.policy)
    trainer.train()
    assert distance(before, weights(trainer.policy)) > 1e-3
    assert all(row["completion_tok"] >= 1 for _, _, rows in records for row in rows)


class CastsOf(TorchDispatchMode):
    """Counts how often a weight is copied into another dtype."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.address, self.n_casts = weight.data_ptr(), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() == self.address:
            self.n_casts += 1
        return func(*args, **(kwargs or {}))


def test_in_bf16_a_weight_is_cast_once_for_all_tokens_and_still_learns(tiny_folder: str, tmp_path: Path) -> None:
    trainer, _ = cada_trainer(
        tiny_folder, tmp_path, trainer_class=CADATrainer, bf16=True, max_completion_length=12, learning_rate=1e-2
    )
    before = weights(trainer.policy)
    trainer.train()  # from here on each forward call has an autocast of its own
    assert distance(before, weights(trainer.policy)) > 1e-3
    with CastsOf(trainer.policy.model.layers[0].mlp.up_proj.weight) as casts:
        said = trainer.sample([row for row in request_rows(4) for _ in range(2)], seed=1)
    assert max(map(len, said)) > 1 and casts.n_casts == 1
