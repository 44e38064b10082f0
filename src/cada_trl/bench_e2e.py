"""bench-e2e: what a whole training step costs on a CPU, rollouts and update, beside stock GRPOTrainer.

    python -m cada_trl.bench_e2e                                   (every row; those with vLLM where it is installed)
    python -m cada_trl.bench_e2e rows=cases,cases_vllm bf16=true --json e2e.json

Equal rollouts, lengths, model (random weights of SmolLM2's shape, float32 or bf16=true) and KL (k2), one thread, each
trainer in a process of its own. Both learn on the prompt that they sample; CADA's default, learning on the raw request,
is cheaper. The aim is for CADA's better way to sample against each of stock's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from cada_trl.bench.one_step import SHAPES, Work
from cada_trl.bench_step import CASES_PREFIX_TOK, CHAT_PREFIX_TOK, COMPLETION_TOK, PROMPT_TOK
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb

# TRL writes them where it starts vLLM: a child of such a process would listen on its port.
RANKS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
TARGET = 0.5  # CPU-seconds of CADA's step over stock's
MICRO_BATCH = {"cada": 8, "stock": 2}  # each at its quickest (docs/results.md); the gradient is the same


class Asked(NamedTuple):
    """What the command line says. bf16: both trainers' own setting."""

    shape: str
    rows: list[Row]
    n_timed: int
    bf16: bool
    check: bool
    out: Path | None


@dataclass(frozen=True)
class Row:
    """One line: `times` as many rollouts, and completions `longer` times as long, as the batch of bench-step."""

    name: str
    prefix_tok: int = CASES_PREFIX_TOK
    times: int = 1
    longer: int = 1
    against: str | None = None  # the row that its growth is measured from
    rollout: Literal["transformers", "vllm"] = "transformers"  # who samples, on both sides

    def work(self, trainer: Literal["cada", "stock"], shape: str, n_timed: int, bf16: bool = False) -> Work:
        """The row's step for one of the trainers."""
        added = self.prefix_tok - CHAT_PREFIX_TOK
        return Work(
            trainer=trainer,
            shape=shape,
            kl="k2",
            micro_batch=MICRO_BATCH[trainer],
            prefix_tok=self.prefix_tok,
            prompt_tok=[n + added for n in PROMPT_TOK] * self.times,
            completion_tok=[n * self.longer for n in COMPLETION_TOK] * self.times,
            n_timed=n_timed,
            rollout=self.rollout,
            bf16=bf16,
        )


CASES = Row("cases")
CHAT = replace(CASES, name="chat", prefix_tok=CHAT_PREFIX_TOK)
SAMPLED_BY_TRANSFORMERS = [
    CASES,
    replace(CASES, name="cases_x2", times=2, against="cases"),
    CHAT,
    replace(CHAT, name="chat_x2", times=2, against="chat"),
    replace(CHAT, name="chat_longer", longer=2, against="chat"),
]
SAMPLED_BY_VLLM = [
    replace(row, name=f"{row.name}_vllm", rollout="vllm", against=row.against and f"{row.against}_vllm")
    for row in SAMPLED_BY_TRANSFORMERS
]
ROWS = SAMPLED_BY_TRANSFORMERS + SAMPLED_BY_VLLM


def main(argv: list[str]) -> int:
    """The verb. Returns 1 if --check and a row is above the target, else 0. Errors: UserError for a wrong argument."""
    if argv[:1] == ["--measure"]:
        from cada_trl.bench.whole_step import measure_whole

        print(json.dumps(measure_whole(Work(**json.loads(argv[1])))))
        return 0
    asked = _arguments(argv)
    results = [compare(row, asked) for row in asked.rows]
    console = table_console()
    console.print(_table(results, "bfloat16" if asked.bf16 else "float32"))
    bests = best(results)
    for sentence in [*growth(results), *map(_sentence, bests)]:
        console.print(sentence)
    if asked.out is not None:
        found = {"shape": asked.shape, "bf16": asked.bf16, "rows": results, "best": bests}
        asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(asked.check and any(ratio > TARGET for one in bests for ratio in one["ratios"].values()))


def compare(row: Row, asked: Asked) -> dict[str, Any]:
    """Measure stock and CADA on one row, each in a process of its own, now. CPU-seconds are medians of timed steps."""
    result: dict[str, Any] = asdict(row)
    for trainer in ("stock", "cada"):
        Console(stderr=True).print(f"{row.name}, {trainer} ...")
        seen = _in_own_process(row.work(trainer, asked.shape, asked.n_timed, asked.bf16))
        rollout, update = median(seen["rollout_cpu_s"]), median(seen["update_cpu_s"])
        result[trainer] = {
            "rollout_cpu_s": rollout,
            "update_cpu_s": update,
            "step_cpu_s": rollout + update,
            "peak_mib": seen["peak_mib"],
        }
    return result | {"ratio": result["cada"]["step_cpu_s"] / result["stock"]["step_cpu_s"]}


def growth(results: list[dict[str, Any]]) -> list[str]:
    """How CPU-seconds grow from a row to the one with twice its rollouts or tokens; 2.0 is linear."""
    by_name = {result["name"]: result for result in results}
    sentences = []
    for result in results:
        base = by_name.get(result["against"])
        if base is not None:
            what = "rollouts" if result["times"] > 1 else "tokens a completion"
            shares = [f"{key} x{result[key]['step_cpu_s'] / base[key]['step_cpu_s']:.2f}" for key in ("cada", "stock")]
            sentences.append(f"{base['name']} -> {result['name']}, twice the {what}: {', '.join(shares)}")
    return sentences


def best(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each measured batch CADA's cheapest way to sample: its row, its step, its ratio to each of stock's."""
    batches: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for result in results:
        batches.setdefault((result["prefix_tok"], result["times"], result["longer"]), []).append(result)
    bests = []
    for measured in batches.values():
        ours = min(measured, key=lambda result: result["cada"]["step_cpu_s"])
        step_cpu_s = ours["cada"]["step_cpu_s"]
        ratios = {result["rollout"]: step_cpu_s / result["stock"]["step_cpu_s"] for result in measured}
        bests.append({"row": ours["name"], "step_cpu_s": step_cpu_s, "ratios": ratios})
    return bests


def _sentence(one: dict[str, Any]) -> str:
    ratios = ", ".join(f"{ratio:.2f} of stock with {rollout}" for rollout, ratio in one["ratios"].items())
    return f"{one['row']}, CADA's cheapest: {one['step_cpu_s']:.1f} CPU-s, {ratios}"


def _in_own_process(work: Work) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if name not in RANKS}
    environment = inherited | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # its CPU-seconds are then those of the measured process
    command = [sys.executable, "-m", "cada_trl.bench_e2e", "--measure", json.dumps(asdict(work))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _arguments(argv: list[str]) -> Asked:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cada_trl.bench_e2e", description="Cost of a whole training step.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="model=SHAPE, rows=NAME,NAME, bf16=true")
    parser.add_argument("--steps", type=int, default=1, help="timed steps a row, after one that is not (default 1)")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 where a ratio is above {TARGET}")
    parser.add_argument("--json", type=Path, help="file for every figure")
    arguments = parser.parse_args(argv)
    by_name = {row.name: row for row in ROWS}
    values = dict(text.partition("=")[::2] for text in arguments.overrides)
    shape, asked, bf16 = values.pop("model", "smollm2"), values.pop("rows", None), values.pop("bf16", "false")
    names = list(by_name) if asked is None else asked.split(",")
    if values:
        raise UserError(f"unknown key '{next(iter(values))}'; valid: model, rows, bf16")
    if shape not in SHAPES:
        raise UserError(f"model={shape} has no shape here; valid: {', '.join(SHAPES)}")
    if unknown := [name for name in names if name not in by_name]:
        raise UserError(f"no row '{unknown[0]}'; valid: {', '.join(by_name)}")
    if bf16 not in ("true", "false"):
        raise UserError(f"bf16={bf16}; expected true or false")
    if arguments.steps < 1:
        raise UserError(f"--steps={arguments.steps}; expected 1 or more")
    rows = _those_that_run([by_name[name] for name in names], asked is not None)
    return Asked(shape, rows, arguments.steps, bf16 == "true", arguments.check, arguments.json)


def _those_that_run(rows: list[Row], asked: bool) -> list[Row]:
    """Without vLLM those that need none of it. Errors: UserError where the user asked for one that does."""
    from cada_trl.rollouts.before_import import check_installed

    with_vllm = [row.name for row in rows if row.rollout == "vllm"]
    if not with_vllm:
        return rows
    try:
        check_installed("cpu")
    except UserError as error:
        line = f"{', '.join(with_vllm)}: {error}"
        if asked:
            raise UserError(line) from error
        Console(stderr=True).print(f"left out: {line}", soft_wrap=True, markup=False, highlight=False)
        return SAMPLED_BY_TRANSFORMERS
    return rows


def _table(results: list[dict[str, Any]], dtype: str) -> Table:
    table = Table(
        title=f"One whole step in {dtype}, CPU-seconds: CADA / stock GRPOTrainer (aim: a ratio of {TARGET} or less)"
    )
    for heading in ("row", "rollouts", "update", "step", "ratio", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for result in results:
        cada, stock = result["cada"], result["stock"]
        seconds = [f"{cada[key]:.1f} / {stock[key]:.1f}" for key in ("rollout_cpu_s", "update_cpu_s", "step_cpu_s")]
        peak = f"{cada['peak_mib']:.0f} / {stock['peak_mib']:.0f}"
        table.add_row(result["name"], *seconds, f"{result['ratio']:.2f}", peak)
    return table


if __name__ == "__main__":
    run_verb(main)
