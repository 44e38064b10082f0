"""bench-step: what one optimiser step costs, beside stock GRPOTrainer in its best setting, on the same rollouts.

    python -m cada_trl.bench_step model=smollm2                    (every row; about half an hour on one core)
    python -m cada_trl.bench_step model=smollm2 rows=k2_mb2,exact_mb2 --check --json step.json

Each variant runs in a process of its own, on one thread in float32 with random weights of the model's shape; stock and
CADA take turns. CPU-seconds are the median of the timed steps, GFLOP (matrix products) those of one more step. TRL 1.16
pads every rollout to the longest prompt and completion and, on CPU, runs the head on every position.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from cada_trl.bench.one_step import SHAPES, Work, measure
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb

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
    """The verb. Returns 1 if --check and a target is missed, else 0. Errors: UserError for an unknown argument."""
    if argv[:1] == ["--measure"]:
        print(json.dumps(measure(Work(**json.loads(argv[1])))))
        return 0
    shape, rows, n_timed, check, out = _arguments(argv)
    results = [compare(row, shape, n_timed) for row in rows]
    table_console().print(_table(results))
    if out is not None:
        out.write_text(json.dumps({"shape": shape, "rows": results}, indent=1), encoding="utf-8")
    return int(check and not all(result["ok"] for result in results))


def compare(row: Row, shape: str, n_timed: int) -> dict[str, Any]:
    """Measure stock and CADA on one row, each in a process of its own, now."""
    Console(stderr=True).print(f"{row.name} ...")
    stock, cada = (_in_own_process(row.work(trainer, shape, n_timed)) for trainer in ("stock", "cada"))
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


def _in_own_process(work: Work) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "cada_trl.bench_step", "--measure", json.dumps(asdict(work))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _arguments(argv: list[str]) -> tuple[str, list[Row], int, bool, Path | None]:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cada_trl.bench_step", description="Cost of a training step.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="model=SHAPE, rows=NAME,NAME")
    parser.add_argument("--steps", type=int, default=3, help="timed steps a variant (default 3)")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--json", type=Path, help="file for every figure")
    arguments = parser.parse_args(argv)
    values = dict(text.partition("=")[::2] for text in arguments.overrides)
    shape, names = values.pop("model", "smollm2"), values.pop("rows", ",".join(row.name for row in ROWS)).split(",")
    by_name = {row.name: row for row in ROWS}
    if values:
        raise UserError(f"unknown key '{next(iter(values))}'; valid: model, rows")
    if shape not in SHAPES:
        raise UserError(f"model={shape} has no shape here; valid: {', '.join(SHAPES)}")
    if unknown := [name for name in names if name not in by_name]:
        raise UserError(f"no row '{unknown[0]}'; valid: {', '.join(by_name)}")
    if arguments.steps < 1:
        raise UserError(f"--steps={arguments.steps}; expected 1 or more, 3 for a figure to quote")
    return shape, [by_name[name] for name in names], arguments.steps, arguments.check, arguments.json


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="One optimiser step: CADA / stock GRPOTrainer")
    for heading in ("row", "CPU-s", "ratio", "target", "GFLOP", "peak MiB", "loss", "gradient norm", ""):
        table.add_column(heading, justify="left" if heading in {"row", ""} else "right")
    for result in results:
        cada, stock = result["cada"], result["stock"]
        table.add_row(
            result["name"],
            f"{median(cada['cpu_s']):.2f} / {median(stock['cpu_s']):.2f}",
            f"{result['cpu_ratio']:.2f}",
            "-" if result["target"] is None else f"{result['target']:.2f}",
            *(f"{cada[key]:.0f} / {stock[key]:.0f}" for key in ("gflop", "peak_mib")),
            *(f"{cada[key]:.5g} / {stock[key]:.5g}" for key in ("loss", "grad_norm")),
            "ok" if result["ok"] else "missed",
        )
    return table


if __name__ == "__main__":
    run_verb(main)
