"""bench-step: what one optimiser step costs, beside stock GRPOTrainer in its best setting, on the same rollouts.

    python -m benchmarks.step model=smollm2                    (every row; about half an hour on one core)
    python -m benchmarks.step model=smollm2 rows=k2_mb2,exact_mb2 --check --json step.json

Each variant runs in a process of its own, on one thread in float32 with random weights of the model's shape; stock and
CADA take turns. Sampling is replaced on both sides by the same token ids, so that what is left is the reference pass,
the policy's forward and backward and the optimiser. CPU-seconds are the median of the timed steps, GFLOP (matrix
products) those of one more step. TRL 1.16 pads every rollout to the longest prompt and completion and, on CPU, runs the
head on every position.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.harness import ONE_THREAD, in_own_process, show, step_arguments, tell, write_json
from benchmarks.trainers import StepClock, Work, build_trainer, preset_rollouts
from cada_trl.errors import run_verb

PROMPT_TOK = [22, 26, 30, 34, 38, 46, 54, 64]
COMPLETION_TOK = [12, 18, 24, 28, 32, 40, 62, 96]  # median 30
CHAT_PREFIX_TOK = 20  # SmolLM2's chat template: its system turn and the start of the user's
CASES_PREFIX_TOK = 300  # the cases of one hazard
SAME_GRADIENT = 1e-3  # float32 sums in another order


@dataclass(frozen=True)
class Row:
    """One line of the table. target: CPU-seconds at most this share of stock's; None is reported only."""

    name: str
    kl: Literal["exact", "k2", "k3"] = "k2"
    micro_batch: int = 2
    prefix_tok: int = CHAT_PREFIX_TOK
    longer_tok: int = 0  # added to every prompt
    equal_lengths: bool = False
    target: float | None = 0.65

    def work(self, trainer: Literal["cada", "stock"], shape: str, n_timed: int) -> Work:
        """The row's batch for one of the trainers; stock knows no exact KL and takes k3."""
        longest = max(COMPLETION_TOK)
        return Work(
            trainer=trainer,
            shape=shape,
            kl="k3" if trainer == "stock" and self.kl == "exact" else self.kl,
            micro_batch=self.micro_batch,
            prefix_tok=self.prefix_tok,
            prompt_tok=[n + self.longer_tok for n in PROMPT_TOK],
            completion_tok=[longest] * len(COMPLETION_TOK) if self.equal_lengths else COMPLETION_TOK,
            n_timed=n_timed,
        )


K2 = Row("k2_mb2")
ROWS = [
    K2,
    replace(K2, name="k2_mb8", micro_batch=8),
    replace(K2, name="k3_mb2", kl="k3"),
    replace(K2, name="k3_mb8", kl="k3", micro_batch=8),
    replace(K2, name="k2_mb2_no_prefix", prefix_tok=0),
    replace(K2, name="exact_mb2", kl="exact", target=0.9),
    replace(K2, name="exact_mb8", kl="exact", micro_batch=8, target=0.9),
    replace(
        K2,
        name="k2_mb8_cases",
        micro_batch=8,
        prefix_tok=CASES_PREFIX_TOK,
        longer_tok=CASES_PREFIX_TOK - CHAT_PREFIX_TOK,
        target=0.35,
    ),
    replace(K2, name="k2_mb2_equal_lengths", equal_lengths=True, target=None),
]


def main(argv: list[str]) -> int:
    """Returns 1 if --check and a target is missed, else 0. Errors: UserError for an unknown argument."""
    by_name = {row.name: row for row in ROWS}
    arguments, values, names = step_arguments("step", argv, by_name, {}, n_timed=3)
    results = [compare(by_name[name], values["model"], arguments.steps) for name in names]
    columns = ("row", "CPU-s", "ratio", "target", "GFLOP", "peak MiB", "loss", "gradient norm", "")
    show("One optimiser step: CADA / stock GRPOTrainer", columns, map(_line, results))
    write_json(arguments.json, {"shape": values["model"], "rows": results})
    return int(arguments.check and not all(result["ok"] for result in results))


def compare(row: Row, shape: str, n_timed: int) -> dict[str, Any]:
    """Measure stock and CADA on one row, each in a process of its own, now."""
    tell(f"{row.name} ...")
    environment = {**ONE_THREAD, "HF_HUB_OFFLINE": "1"}
    stock, cada = (
        in_own_process(measure, asdict(row.work(trainer, shape, n_timed)), environment=environment)
        for trainer in ("stock", "cada")
    )
    ratio = median(cada["cpu_s"]) / median(stock["cpu_s"])
    gradient_off = abs(cada["grad_norm"] / stock["grad_norm"] - 1.0)
    same_gradient = None if row.kl == "exact" else gradient_off < SAME_GRADIENT
    memory = cada["peak_mib"] / stock["peak_mib"]
    on_target = row.target is None or (ratio <= row.target and memory <= 1.0)
    return {
        **asdict(row),
        "stock": stock,
        "cada": cada,
        "cpu_ratio": ratio,
        "peak_ratio": memory,
        "gflop_ratio": cada["gflop"] / stock["gflop"],
        "same_gradient": same_gradient,
        "ok": on_target and same_gradient is not False,
    }


def measure(fields: dict[str, Any]) -> dict[str, Any]:
    """Run 1 + n_timed steps of a Work. Returns cpu_s (a list, one a timed step), gflop (of the first step, which is not
    timed), loss and grad_norm of the first step, and peak_mib of this process.

    loss is GRPO's, -advantage x ratio + beta x k3, summed over tokens. Its ratio is 1 where CADA has the
    log-probability: the gradients are equal and the values are not, so that CADA's is put together from its record.
    Stock's dr_grpo divides loss and gradient by max_completion_length; that is undone here.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    work = Work(**fields)
    torch.set_num_threads(1)
    counter = FlopCounterMode(display=False)
    clock = StepClock(time.process_time, counter)
    with tempfile.TemporaryDirectory() as folder:
        trainer, logged = build_trainer(work, Path(folder), _preset(work))
        trainer.add_callback(clock.callback())
        trainer.train()
    loss, grad_norm = logged()
    scale = max(work.completion_tok) if work.trainer == "stock" else 1
    return {
        "cpu_s": clock.step_s,
        "gflop": counter.get_total_flops() / 1e9,
        "loss": loss * scale,
        "grad_norm": grad_norm * scale,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _preset(work: Work) -> type:
    """Mixed into a trainer, it stands for sampling."""
    completions = preset_rollouts(work)[1]

    class Preset:
        def _generate_single_turn(self, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
            return completions, None

    return Preset


def _line(result: dict[str, Any]) -> list[str]:
    cada, stock = result["cada"], result["stock"]
    return [
        result["name"],
        f"{median(cada['cpu_s']):.2f} / {median(stock['cpu_s']):.2f}",
        f"{result['cpu_ratio']:.2f}",
        "-" if result["target"] is None else f"{result['target']:.2f}",
        *(f"{cada[key]:.0f} / {stock[key]:.0f}" for key in ("gflop", "peak_mib")),
        *(f"{cada[key]:.5g} / {stock[key]:.5g}" for key in ("loss", "grad_norm")),
        "ok" if result["ok"] else "missed",
    ]


if __name__ == "__main__":
    run_verb(main)
