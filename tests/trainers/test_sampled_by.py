"""Whose completions are learned from: the policy's, or those of the frozen model that it began as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from cada_trl.trainers.cada import CADATrainer
from cada_trl.trainers.cada_config import CADAConfig

from .preset_run import CPU_RUN, request_rows, score
from .tiny import tiny_tokenizer

ROWS = request_rows(8).to_list()


def _trainer(folder: str, out: Path, sampled_by: str, lora: bool = False) -> CADATrainer:
    args = CADAConfig(
        str(out),
        **CPU_RUN,
        per_device_train_batch_size=8,
        beta_kl=0.1,
        sampled_by=sampled_by,  # type: ignore[arg-type]
    )
    adapter: Any = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    return CADATrainer(folder, args, request_rows(8), tiny_tokenizer(), score=score, peft_config=adapter)


def _move(trainer: CADATrainer) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5 * torch.randn_like(parameter))


@pytest.mark.parametrize("lora", [False, True])
def test_the_reference_samples_what_the_untrained_policy_did_however_far_the_policy_has_moved(
    tiny_folder: str, tmp_path: Path, lora: bool
) -> None:
    trainer = _trainer(tiny_folder, tmp_path / "one", "reference", lora)
    first = _trainer(tiny_folder, tmp_path / "two", "policy", lora).sample(ROWS, seed=3)
    _move(trainer)
    assert trainer.sample(ROWS, seed=3) == first


@pytest.mark.parametrize("lora", [False, True])
def test_the_policy_samples_with_the_weights_that_it_has_now(tiny_folder: str, tmp_path: Path, lora: bool) -> None:
    trainer = _trainer(tiny_folder, tmp_path, "policy", lora)
    first = trainer.sample(ROWS, seed=3)
    _move(trainer)
    assert trainer.sample(ROWS, seed=3) != first


def test_a_policy_is_whole_again_after_its_adapter_was_off_to_sample(tiny_folder: str, tmp_path: Path) -> None:
    trainer = _trainer(tiny_folder, tmp_path, "reference", lora=True)
    _move(trainer)
    ids = torch.tensor([[7, 8, 9]])
    with torch.no_grad():
        before = trainer.model(input_ids=ids).logits
        trainer.sample(ROWS, seed=3)
        assert torch.equal(trainer.model(input_ids=ids).logits, before)
