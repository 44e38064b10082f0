"""bench-e2e: what a whole training step costs on a CPU, rollouts and update, beside stock GRPOTrainer.

    python -m benchmarks.e2e                                   (every row; those with vLLM where it is installed)
    python -m benchmarks.e2e rows=cases,cases_vllm bf16=true --json e2e.json

Equal rollouts, lengths, model (random weights of SmolLM2's shape, float32 or bf16=true) and KL (k2), one thread, each
trainer in a process of its own. Prompts and the lengths of the completions are preset, the tokens are sampled: by
CADA's own loop (each shared prefix once, rows leave as they end) and by transformers' generate in stock GRPOTrainer, or
on both sides by vLLM in the trainer's process, each by its own path and with a sync of the weights per step. Both learn
on the prompt that they sample; CADA's default, learning on the raw request, is cheaper. The aim is for CADA's better
way to sample against each of stock's.
"""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal
from unittest.mock import patch

from benchmarks.harness import ONE_THREAD, in_own_process, show, step_arguments, tell, write_json
from benchmarks.step import CASES_PREFIX_TOK, CHAT_PREFIX_TOK, COMPLETION_TOK, PROMPT_TOK
from benchmarks.trainers import StepClock, Work, build_trainer, preset_rollouts
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb

TARGET = 0.5  # CPU-seconds of CADA's step over stock's
MICRO_BATCH = {"cada": 8, "stock": 2}  # each at its quickest (docs/results.md); the gradient is the same
KV_CACHE_GIB = 1  # of vLLM, on both sides; 23,000 tokens of SmolLM2's shape, three times what a row needs


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
    """Returns 1 if --check and a row is above the target, else 0. Errors: UserError for a wrong argument."""
    by_name = {row.name: row for row in ROWS}
    arguments, values, names = step_arguments("e2e", argv, by_name, {"bf16": "false"}, n_timed=1)
    if values["bf16"] not in ("true", "false"):
        raise UserError(f"bf16={values['bf16']}; expected true or false")
    bf16 = values["bf16"] == "true"
    rows = those_that_run([by_name[name] for name in names], any(word.startswith("rows=") for word in argv))
    results = [compare(row, values["model"], arguments.steps, bf16) for row in rows]
    dtype = "bfloat16" if bf16 else "float32"
    title = f"One whole step in {dtype}, CPU-seconds: CADA / stock GRPOTrainer (aim: a ratio of {TARGET} or less)"
    show(title, ("row", "rollouts", "update", "step", "ratio", "peak MiB"), map(_line, results))
    bests = best(results)
    for sentence in [*growth(results), *map(_sentence, bests)]:
        table_console().print(sentence)
    write_json(arguments.json, {"shape": values["model"], "bf16": bf16, "rows": results, "best": bests})
    ratios = [ratio for cheapest in bests for ratio in cheapest["ratios"].values()]
    return int(arguments.check and any(ratio > TARGET for ratio in ratios))


def compare(row: Row, shape: str, n_timed: int, bf16: bool) -> dict[str, Any]:
    """Measure stock and CADA on one row, each in a process of its own, now. CPU-seconds are medians of timed steps."""
    result: dict[str, Any] = asdict(row)
    for trainer in ("stock", "cada"):
        tell(f"{row.name}, {trainer} ...")
        seen = measured(row.work(trainer, shape, n_timed, bf16))
        rollout, update = median(seen["rollout_cpu_s"]), median(seen["update_cpu_s"])
        result[trainer] = {
            "rollout_cpu_s": rollout,
            "update_cpu_s": update,
            "step_cpu_s": rollout + update,
            "peak_mib": seen["peak_mib"],
        }
    return result | {"ratio": result["cada"]["step_cpu_s"] / result["stock"]["step_cpu_s"]}


def measured(work: Work) -> dict[str, Any]:
    """`measure` in a process of its own."""
    # without its own processes vLLM's CPU-seconds are those of the measured one
    environment = ONE_THREAD | {"HF_HUB_OFFLINE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    return in_own_process(measure, asdict(work), environment=environment)


def growth(results: list[dict[str, Any]]) -> list[str]:
    """How CPU-seconds grow from a row to the one with twice its rollouts or tokens; 2.0 is linear."""
    by_name = {result["name"]: result for result in results}
    sentences = []
    for result in results:
        base = by_name.get(result["against"])
        if base is not None:
            what = "rollouts" if result["times"] > 1 else "tokens per completion"
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


def _sentence(cheapest: dict[str, Any]) -> str:
    ratios = ", ".join(f"{ratio:.2f} of stock with {rollout}" for rollout, ratio in cheapest["ratios"].items())
    return f"{cheapest['row']}, CADA's cheapest: {cheapest['step_cpu_s']:.1f} CPU-s, {ratios}"


def those_that_run(rows: list[Row], asked: bool) -> list[Row]:
    """Without vLLM those that need none of it. Errors: UserError where the user asked for one that does."""
    from cada_trl.rollouts.vllm_plugin import check_installed

    with_vllm = [row.name for row in rows if row.rollout == "vllm"]
    if not with_vllm:
        return rows
    try:
        check_installed("cpu")
    except UserError as error:
        line = f"{', '.join(with_vllm)}: {error}"
        if asked:
            raise UserError(line) from error
        tell(f"left out: {line}")
        return SAMPLED_BY_TRANSFORMERS
    return rows


def measure(fields: dict[str, Any]) -> dict[str, Any]:
    """Run 1 + n_timed steps of a Work. Returns rollout_cpu_s, update_cpu_s (all of a step but its sampling), peak_mib.

    The first two are lists, one value a timed step; the last is this process's. A sync of vLLM's weights is sampling.
    """
    import torch
    import transformers

    work = Work(**fields)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    clock = StepClock(time.process_time)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as forced:
        trainer = _trainer(work, Path(folder), clock, forced)
        trainer.add_callback(clock.callback())
        trainer.train()
    return {
        "rollout_cpu_s": clock.rollout_s,
        "update_cpu_s": clock.update_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _trainer(work: Work, folder: Path, clock: StepClock, forced: ExitStack) -> Any:
    """The trainer; while `forced` is open, it samples the lengths of the work."""
    from benchmarks.forced_lengths import generate_ending_at, loop_ending_at, vllm_ending_at
    from cada_trl.training import cada

    prompts, lengths = preset_rollouts(work)[0], work.completion_tok
    sampling = _sampling(work, clock)
    if work.rollout == "vllm":
        from cada_trl.rollouts.vllm_plugin import set_environment

        set_environment(cpu=True, in_training=True)
        from trl.generation import vllm_generation

        from cada_trl.rollouts import generation

        forced.enter_context(vllm_ending_at(prompts, lengths))
        stock_llm = _stock_llm(work.bf16)  # CADA puts its own in its place
        forced.enter_context(patch.object(vllm_generation, "LLM", stock_llm))
        forced.enter_context(patch.object(generation, "CPU_KV_CACHE_GIB", KV_CACHE_GIB))
        return build_trainer(work, folder, sampling)[0]
    forced.enter_context(patch.object(cada, "sampled", loop_ending_at(lengths)))
    trainer, _ = build_trainer(work, folder, sampling)
    if work.trainer == "stock":
        trainer.model.generate = generate_ending_at(trainer.model.generate, lengths)
    return trainer


def _stock_llm(bf16: bool) -> Any:
    """vLLM as stock GRPOTrainer starts it, with what CADA sets on a CPU: TRL itself passes none of it.

    Left to itself vLLM would always sample in bfloat16, look for a tokenizer's files, compile, and reserve memory by a
    share.
    """
    from functools import partial

    from vllm import LLM

    return partial(
        LLM,
        dtype="bfloat16" if bf16 else "float32",
        enable_prefix_caching=True,
        skip_tokenizer_init=True,
        generation_config="vllm",
        enforce_eager=True,
        use_tqdm_on_load=False,
        kv_cache_memory_bytes=KV_CACHE_GIB * 2**30,
    )


def _sampling(work: Work, clock: StepClock) -> type:
    """Mixed into a trainer: the clock around its sampling, and a look at what it sampled."""

    class Sampling(clock.around_sampling()):  # type: ignore[misc]
        def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
            sampled = super()._generate_single_turn(*args, **kwargs)
            if (lengths := [len(ids) for ids in sampled[0]]) != work.completion_tok:
                raise RuntimeError(
                    f"{work.trainer} sampled {lengths} tokens; the comparison needs {work.completion_tok}"
                )
            return sampled

    return Sampling


def _line(result: dict[str, Any]) -> list[str]:
    cada, stock = result["cada"], result["stock"]
    seconds = [f"{cada[key]:.1f} / {stock[key]:.1f}" for key in ("rollout_cpu_s", "update_cpu_s", "step_cpu_s")]
    return [result["name"], *seconds, f"{result['ratio']:.2f}", f"{cada['peak_mib']:.0f} / {stock['peak_mib']:.0f}"]


if __name__ == "__main__":
    run_verb(main)
