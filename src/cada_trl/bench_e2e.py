"""bench-e2e: what a whole training step costs on a CPU, rollouts and update, beside stock GRPOTrainer.

    python -m cada_trl.bench_e2e                                   (every row, about ten minutes on one core)
    python -m cada_trl.bench_e2e rows=cases,cases_x2 --json e2e.json

Equal rollouts, lengths, model (random weights of SmolLM2's shape, float32) and KL (k2), one thread, each trainer in a
process of its own. Both learn on the prompt that they sample; CADA's default, learning on the raw request, is cheaper.
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

from cada_trl.bench.one_step import SHAPES, Work
from cada_trl.bench_step import CASES_PREFIX_TOK, CHAT_PREFIX_TOK, COMPLETION_TOK, PROMPT_TOK
from cada_trl.errors import UserError, run_verb

TARGET = 0.5  # CPU-seconds of CADA's step over stock's
MICRO_BATCH = {"cada": 8, "stock": 2}  # each at its quickest (docs/results.md); the gradient is the same


@dataclass(frozen=True)
class Row:
    """One line: `times` as many rollouts, and completions `longer` times as long, as the batch of bench-step."""

    name: str
    prefix_tok: int = CASES_PREFIX_TOK
    times: int = 1
    longer: int = 1
    against: str | None = None  # the row that its growth is measured from

    def work(self, trainer: Literal["cada", "stock"], shape: str, n_timed: int) -> Work:
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
        )


CASES = Row("cases")
CHAT = replace(CASES, name="chat", prefix_tok=CHAT_PREFIX_TOK)
ROWS = [
    CASES,
    replace(CASES, name="cases_x2", times=2, against="cases"),
    CHAT,
    replace(CHAT, name="chat_x2", times=2, against="chat"),
    replace(CHAT, name="chat_longer", longer=2, against="chat"),
]


def main(argv: list[str]) -> int:
    """The verb. Returns 1 if --check and a row is above the target, else 0. Errors: UserError for a wrong argument."""
    if argv[:1] == ["--measure"]:
        from cada_trl.bench.whole_step import measure_whole

        print(json.dumps(measure_whole(Work(**json.loads(argv[1])))))
        return 0
    shape, rows, n_timed, check, out = _arguments(argv)
    results = [compare(row, shape, n_timed) for row in rows]
    console = Console(width=130)
    console.print(_table(results))
    for sentence in growth(results):
        console.print(sentence)
    if out is not None:
        out.write_text(json.dumps({"shape": shape, "rows": results}, indent=1), encoding="utf-8")
    return int(check and any(result["ratio"] > TARGET for result in results))


def compare(row: Row, shape: str, n_timed: int) -> dict[str, Any]:
    """Measure stock and CADA on one row, each in a process of its own, now. CPU-seconds are medians of timed steps."""
    result: dict[str, Any] = asdict(row)
    for trainer in ("stock", "cada"):
        Console(stderr=True).print(f"{row.name}, {trainer} ...")
        seen = _in_own_process(row.work(trainer, shape, n_timed))
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


def _in_own_process(work: Work) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "cada_trl.bench_e2e", "--measure", json.dumps(asdict(work))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _arguments(argv: list[str]) -> tuple[str, list[Row], int, bool, Path | None]:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cada_trl.bench_e2e", description="Cost of a whole training step.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="model=SHAPE, rows=NAME,NAME")
    parser.add_argument("--steps", type=int, default=1, help="timed steps a row, after one that is not (default 1)")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 where a ratio is above {TARGET}")
    parser.add_argument("--json", type=Path, help="file for every figure")
    arguments = parser.parse_args(argv)
    by_name = {row.name: row for row in ROWS}
    values = dict(text.partition("=")[::2] for text in arguments.overrides)
    shape, names = values.pop("model", "smollm2"), values.pop("rows", ",".join(by_name)).split(",")
    if values:
        raise UserError(f"unknown key '{next(iter(values))}'; valid: model, rows")
    if shape not in SHAPES:
        raise UserError(f"model={shape} has no shape here; valid: {', '.join(SHAPES)}")
    if unknown := [name for name in names if name not in by_name]:
        raise UserError(f"no row '{unknown[0]}'; valid: {', '.join(by_name)}")
    if arguments.steps < 1:
        raise UserError(f"--steps={arguments.steps}; expected 1 or more")
    return shape, [by_name[name] for name in names], arguments.steps, arguments.check, arguments.json


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title=f"One whole step, CPU-seconds: CADA / stock GRPOTrainer (aim: a ratio of {TARGET} or less)")
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
