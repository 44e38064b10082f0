"""bench-gpu: rollouts and update on one GPU, CADA beside stock GRPOTrainer, in under eight minutes.

    python -m cada_trl.bench_gpu                        (one CUDA GPU and vLLM: pip install -e '.[vllm]')
    python -m cada_trl.bench_gpu --dry-run              (the plan; needs neither)
    python -m cada_trl.bench_gpu model=llama3 --json gpu.json

It has not been run on a GPU by us (docs/speed.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cada_trl.bench.gpu_step import GpuWork, Seen, measure_on_gpu
from cada_trl.config import load_config
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb
from cada_trl.planning.shapes import Shape, shape_of

LIMIT_S = 230  # of each of the two processes: together under eight minutes
N_TIMED = 3
OVERRIDES = [
    *("hardware=gpu", "rollout=vllm_colocate", "data=twins", "tracking=local"),
    *("requests_per_step=32", "rollouts_per_request=2", "benign_frac=0.0", "max_new_tok=256", "micro_batch=8"),
    *("gradient_checkpointing=false", "learn_on=rollout", "baseline=group", "kl=k2", "kl_in=loss", "beta_kl=0.05"),
]


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError without a GPU or vLLM, and for an override that train would refuse."""
    if argv[:1] == ["--measure"]:
        print(json.dumps(measure_on_gpu(GpuWork(**json.loads(argv[1])))))
        return 0
    words, out, dry = _arguments(argv)
    works = plan(words)
    shape = shape_of(load_config(works[0].overrides).model)
    if dry:
        for work in works:
            print(f"{work.trainer}: 1 + {work.n_timed} steps, at most {LIMIT_S} s: {' '.join(work.overrides)}")
        return 0
    _check_gpu()
    seen: dict[str, Seen] = {work.trainer: _in_own_process(work) for work in works}
    table_console().print(_table(seen, shape))
    if out is not None:
        rows = {name: {**asdict(one), "mfu": one.mfu(shape)} for name, one in seen.items()}
        out.write_text(json.dumps({"overrides": works[0].overrides, **rows}, indent=1), encoding="utf-8")
    return 0


def plan(words: list[str]) -> list[GpuWork]:
    """Both trainers on the same overrides. Errors: UserError as load_config."""
    overrides = [*OVERRIDES, *words]
    load_config(overrides)
    return [GpuWork("stock", overrides, N_TIMED), GpuWork("cada", overrides, N_TIMED)]


def _arguments(argv: list[str]) -> tuple[list[str], Path | None, bool]:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cada_trl.bench_gpu", description="Cost of a step on a GPU.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train")
    parser.add_argument("--dry-run", action="store_true", help="show the plan; needs no GPU")
    parser.add_argument("--json", type=Path, help="file for every figure")
    arguments = parser.parse_args(argv)
    return arguments.overrides, arguments.json, arguments.dry_run


def _check_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"no GPU here: torch {torch.__version__} sees no CUDA device; --dry-run shows the plan")
    from cada_trl.rollouts.before_import import check_installed

    check_installed("cuda")


def _in_own_process(work: GpuWork) -> Seen:
    Console(stderr=True).print(f"{work.trainer} ...")
    command = [sys.executable, "-m", "cada_trl.bench_gpu", "--measure", json.dumps(asdict(work))]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{work.trainer} took over {LIMIT_S} s; lower max_new_tok or requests_per_step") from error
    return Seen(**json.loads(done.stdout.splitlines()[-1]))


def _table(seen: dict[str, Seen], shape: Shape) -> Table:
    card = next(iter(seen.values())).card
    table = Table(title=f"One step on {card}, bfloat16, vLLM in the trainer's process")
    for heading in ("trainer", "rollouts, s", "rollout tok/s", "update, s", "update tok/s", "MFU", "peak GiB"):
        table.add_column(heading, justify="left" if heading == "trainer" else "right")
    for name, one in seen.items():
        table.add_row(name, *_cells(one, one.mfu(shape)))
    return table


def _cells(one: Seen, mfu: float | None) -> list[Any]:
    return [
        f"{one.rollout_s:.2f}",
        f"{one.rollout_tok_s:.0f}",
        f"{one.update_s:.2f}",
        f"{one.update_tok_s:.0f}",
        "n/a" if mfu is None else f"{100 * mfu:.1f} %",
        f"{one.peak_gib:.1f}",
    ]


if __name__ == "__main__":
    run_verb(main)
