"""bench-gpu: rollouts and update on one GPU, CADA beside stock GRPOTrainer, in under eight minutes.

    python -m benchmarks.gpu                        (one CUDA GPU and vLLM: pip install 'cada_trl[vllm]')
    python -m benchmarks.gpu --dry-run              (the plan; needs neither)
    python -m benchmarks.gpu model=llama3 --json gpu.json

Both trainers sample the same prompts, learn on them, and have the same KL (k2). Ends are ignored, so that every
completion has max_new_tok tokens and tokens per second mean the same on both sides. It has
not been run on a GPU by us (docs/vllm_and_speed.md).
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.harness import in_own_process, parser, show, tell, write_json
from benchmarks.trainers import STOCK, StepClock, of_run, preset_rewards, preset_score
from cada_trl.config import Config, load_config
from cada_trl.errors import UserError, run_verb
from cada_trl.planning.device import accelerators
from cada_trl.planning.shapes import Shape, shape_of

Trainer = Literal["stock", "cada"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)
LIMIT_S = 230  # of each of the two processes: together under eight minutes
N_TIMED = 3
OVERRIDES = [
    *("hardware=gpu", "rollout=vllm_colocate", "data=twins", "tracking=local"),
    *("requests_per_step=32", "rollouts_per_request=2", "benign_frac=0.0", "max_new_tok=256", "micro_batch=8"),
    *("gradient_checkpointing=false", "learn_on=rollout", "baseline=group"),
    *("skip_zero_advantage=false", "first_tok_weight=1.0"),  # stock learns on every rollout, and each token alike
    *("kl=k2", "kl_in=loss", "kl_direction=reverse", "beta_kl=0.05"),
]
# Matrix operations a token and weight: 2 forward, 4 backward, 2 for the reference. What is recomputed is not counted.
FLOP_PER_TOK_AND_WEIGHT = 8


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
        """New tokens per second of sampling."""
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


def main(argv: list[str]) -> int:
    """Returns 0. Errors: UserError without a GPU or vLLM, and for an override that train would refuse."""
    made = parser("gpu", "Cost of a step on a GPU.", "as for train")
    made.add_argument("--dry-run", action="store_true", help="show the plan; needs no GPU")
    arguments = made.parse_args(argv)
    overrides = [*OVERRIDES, *arguments.overrides]
    shape = shape_of(load_config(overrides).model)
    if arguments.dry_run:
        for trainer in TRAINERS:
            print(f"{trainer}: 1 + {N_TIMED} steps, at most {LIMIT_S} s: {' '.join(overrides)}")
        return 0
    _check_gpu()
    seen = {trainer: measured(trainer, overrides) for trainer in TRAINERS}
    columns = ("trainer", "rollouts, s", "rollout tok/s", "update, s", "update tok/s", "MFU", "peak GiB")
    lines = [_line(name, side, side.mfu(shape)) for name, side in seen.items()]
    show(f"One step on {seen['cada'].card}, bfloat16, vLLM in the trainer's process", columns, lines)
    figures: dict[str, Any] = {name: {**asdict(side), "mfu": side.mfu(shape)} for name, side in seen.items()}
    write_json(arguments.json, figures | {"overrides": overrides})
    return 0


def _check_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"no GPU here: torch {torch.__version__} sees no CUDA device; --dry-run shows the plan")
    from cada_trl.rollouts.vllm_plugin import check_installed

    check_installed("cuda")


def measured(trainer: Trainer, overrides: list[str]) -> Seen:
    """`measure` in a process of its own. Errors: UserError where it takes longer than LIMIT_S."""
    tell(f"{trainer} ...")
    try:
        return Seen(**in_own_process(measure, trainer, overrides, limit_s=LIMIT_S))
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{trainer} took over {LIMIT_S} s; lower max_new_tok or requests_per_step") from error


def measure(trainer: Trainer, overrides: list[str]) -> dict[str, Any]:
    """Train 1 + N_TIMED steps; the fields of Seen."""
    from statistics import median

    import torch

    from cada_trl.launching import quiet_libraries, set_environment
    from cada_trl.rollouts.vllm_plugin import prepare_vllm

    config = load_config(overrides)
    set_environment(config.hardware.threads)
    prepare_vllm(config)
    quiet_libraries()
    clock = StepClock(_now_s)
    with tempfile.TemporaryDirectory() as folder:
        built = _trainer(trainer, config, Path(folder), clock)
        built.add_callback(clock.callback())
        built.train()
    return {
        "card": torch.cuda.get_device_name(0),
        "rollout_s": median(clock.rollout_s),
        "update_s": median(clock.update_s),
        "prompt_tok": clock.prompt_tok,
        "completion_tok": clock.completion_tok,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def _now_s() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _trainer(trainer: Trainer, config: Config, folder: Path, clock: StepClock) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    from cada_trl.training.cada import CADATrainer
    from cada_trl.training.cada_config import cada_arguments
    from cada_trl.training.requests import step_sampler
    from cada_trl.training.run import rollout_arguments, training_arguments

    data, given = of_run(config)
    if trainer == "cada":
        args: Any = cada_arguments(config, folder, len(data.train))
        given["sampler"] = step_sampler(config, data.train, data.benign_train, args.gradient_accumulation_steps)
        given["score"] = preset_score
    else:
        shared = training_arguments(config, folder, len(data.train)) | rollout_arguments(config) | STOCK
        args = GRPOConfig(**shared, num_generations=config.algo.rollouts_per_request, use_bias_correction_kl=True)
        given["reward_funcs"] = preset_rewards
    args.save_strategy, args.max_steps, args.generation_kwargs = "no", 1 + N_TIMED, {"ignore_eos": True}
    of_kind = CADATrainer if trainer == "cada" else GRPOTrainer
    return type("Timed", (clock.around_sampling(), of_kind), {})(**given, args=args)


def _line(trainer: str, seen: Seen, mfu: float | None) -> list[str]:
    return [
        trainer,
        f"{seen.rollout_s:.2f}",
        f"{seen.rollout_tok_s:.0f}",
        f"{seen.update_s:.2f}",
        f"{seen.update_tok_s:.0f}",
        "n/a" if mfu is None else f"{100 * mfu:.1f} %",
        f"{seen.peak_gib:.1f}",
    ]


if __name__ == "__main__":
    run_verb(main)
