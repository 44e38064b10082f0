"""Measure whole steps of one trainer on a GPU: colocated vLLM, bfloat16, real weights; its process does nothing else.

Both trainers sample the same prompts, learn on them, and have the same KL (k2). Ends are ignored, so that every
completion has max_new_tok tokens and tokens a second mean the same on both sides.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cada_trl.bench.one_step import BETA_KL, preset_rewards, preset_score
from cada_trl.config import Config, load_config
from cada_trl.planning.device import accelerators
from cada_trl.planning.shapes import Shape

# Matrix operations a token and weight: 2 forward, 4 backward, 2 for the reference. What is recomputed is not counted.
FLOP_PER_TOK_AND_WEIGHT = 8


@dataclass(frozen=True)
class GpuWork:
    """One trainer's measurement. overrides: of train; n_timed steps follow one that is not timed."""

    trainer: Literal["cada", "stock"]
    overrides: list[str]
    n_timed: int


@dataclass(frozen=True)
class Seen:
    """Seconds of the timed steps (medians) and tokens of one step, all rollouts together. prompt_tok: as sampled."""

    card: str
    rollout_s: float
    update_s: float
    prompt_tok: int
    completion_tok: int
    peak_gib: float

    @property
    def rollout_tok_s(self) -> float:
        """New tokens a second of sampling."""
        return self.completion_tok / self.rollout_s

    @property
    def update_tok_s(self) -> float:
        """Prompt and completion tokens learned on a second of update, each row's own, without padding."""
        return (self.prompt_tok + self.completion_tok) / self.update_s

    def mfu(self, shape: Shape) -> float | None:
        """Share of the card's bfloat16 peak that the update's useful operations take; None for an unknown card."""
        peak_tflops = card_tflops(self.card)
        if peak_tflops is None:
            return None
        return FLOP_PER_TOK_AND_WEIGHT * shape.matmul_params * self.update_tok_s / (peak_tflops * 1e12)


def card_tflops(card: str) -> float | None:
    """Dense bfloat16 peak of a card by the name that CUDA gives it; None where planning/ does not know it."""
    known = (values.tflops for name, values in accelerators().items() if name.split("_")[0].upper() in card.upper())
    return next(known, None)


def measure_on_gpu(work: GpuWork) -> dict[str, Any]:
    """Train 1 + n_timed steps; the fields of Seen."""
    from statistics import median

    import torch

    from cada_trl.launching import quiet_libraries, set_environment
    from cada_trl.rollouts.before_import import prepare_vllm

    config = load_config(work.overrides)
    set_environment(config.hardware.threads)
    prepare_vllm(config)
    quiet_libraries()
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(work, config, Path(folder), clock)
        trainer.add_callback(clock.callback())
        trainer.train()
    rollouts, steps = clock.rollout_s[1:], clock.step_s[1:]
    return {
        "card": torch.cuda.get_device_name(0),
        "rollout_s": median(rollouts),
        "update_s": median(step - rollout for step, rollout in zip(steps, rollouts, strict=True)),
        "prompt_tok": clock.prompt_tok,
        "completion_tok": clock.completion_tok,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


class _Clock:
    """Seconds of every sampling (with its weight sync) and of every step, and the tokens of the last one."""

    def __init__(self) -> None:
        self.rollout_s: list[float] = []
        self.step_s: list[float] = []
        self.prompt_tok = self.completion_tok = 0

    @staticmethod
    def now_s() -> float:
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def callback(self) -> Any:
        from transformers import TrainerCallback

        clock = self

        class Steps(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.started_s = clock.now_s()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.step_s.append(clock.now_s() - self.started_s)

        return Steps()

    def around_sampling(self) -> type:
        """Mixed into a trainer."""
        clock = self

        class Timed:
            def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
                started_s = clock.now_s()
                said = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
                clock.rollout_s.append(clock.now_s() - started_s)
                clock.prompt_tok, clock.completion_tok = sum(map(len, prompt_ids)), sum(map(len, said[0]))
                return said

        return Timed


def _trainer(work: GpuWork, config: Config, folder: Path, clock: _Clock) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    from cada_trl.hazards.pack import load_pack
    from cada_trl.models.load import load_policy, load_tokenizer
    from cada_trl.prepare import prepare
    from cada_trl.trainers.arguments import cada_arguments, rollout_arguments, rollout_dataset, training_arguments
    from cada_trl.trainers.cada import CADATrainer

    data, tokenizer = prepare(config), load_tokenizer(config.model)
    given: dict[str, Any] = {
        "model": load_policy(config.model, tokenizer),
        "train_dataset": rollout_dataset(config, data.train, data.benign_train, load_pack(config.hazards)),
        "processing_class": tokenizer,
    }
    own = {"save_strategy": "no", "max_steps": 1 + work.n_timed}
    if work.trainer == "cada":
        args: Any = cada_arguments(config, folder, data.train, data.benign_train)
        args.save_strategy, args.max_steps = own.values()
        args.generation_kwargs = {"ignore_eos": True}
        return type("TimedCADA", (clock.around_sampling(), CADATrainer), {})(**given, args=args, score=preset_score)
    args = GRPOConfig(
        **training_arguments(config, folder, len(data.train)) | own,
        **rollout_arguments(config),
        num_generations=config.algo.rollouts_per_request,
        beta=BETA_KL,
        loss_type="dr_grpo",
        scale_rewards="none",
        use_bias_correction_kl=True,
        generation_kwargs={"ignore_eos": True},
    )
    return type("TimedGRPO", (clock.around_sampling(), GRPOTrainer), {})(
        **given, args=args, reward_funcs=lambda prompts, completions, **_: preset_rewards(len(prompts))
    )
