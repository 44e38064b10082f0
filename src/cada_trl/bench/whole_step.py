"""Measure whole training steps of one trainer, its own sampling and its update: its process does nothing else.

Prompts and the lengths of the completions are preset (forced_lengths.py), the tokens are sampled from random weights.
CADA decodes with its own loop (each shared prefix once, rows leave as they end) and stock GRPOTrainer with
transformers' generate, or both with vLLM in this process, each by its own path and with a sync of the weights a step.
"""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from cada_trl.bench.forced_lengths import generate_ending_at, loop_ending_at, vllm_ending_at
from cada_trl.bench.one_step import Work, build_trainer, preset_rollouts

KV_CACHE_GIB = 1  # of vLLM, on both sides; 23,000 tokens of SmolLM2's shape, three times what a row needs


def measure_whole(work: Work) -> dict[str, Any]:
    """Run 1 + n_timed steps. Returns rollout_cpu_s, update_cpu_s (all of a step but its sampling), peak_mib.

    The first two are lists, one value a timed step; the last is this process's. A sync of vLLM's weights is sampling.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as forced:
        trainer = _trainer(work, Path(folder), clock, forced)
        trainer.add_callback(clock.callback())
        trainer.train()
    rollout_cpu_s, step_cpu_s = clock.rollout_cpu_s[1:], clock.step_cpu_s[1:]
    return {
        "rollout_cpu_s": rollout_cpu_s,
        "update_cpu_s": [step - rollout for step, rollout in zip(step_cpu_s, rollout_cpu_s, strict=True)],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _trainer(work: Work, folder: Path, clock: _Clock, forced: ExitStack) -> Any:
    """The trainer; while `forced` is open, it samples the lengths of the work."""
    from cada_trl.trainers import cada

    prompts, lengths = preset_rollouts(work)[0], work.completion_tok
    sampling = _sampling(work, prompts, clock)
    if work.rollout == "vllm":
        from cada_trl.rollouts.before_import import set_environment

        set_environment("cpu")
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


class _Clock:
    """CPU-seconds of every sampling and of every step."""

    def __init__(self) -> None:
        self.rollout_cpu_s: list[float] = []
        self.step_cpu_s: list[float] = []

    def callback(self) -> Any:
        from transformers import TrainerCallback

        clock = self

        class Steps(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.started_s = time.process_time()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.step_cpu_s.append(time.process_time() - self.started_s)

        return Steps()


def _sampling(work: Work, prompts: list[list[int]], clock: _Clock) -> type:
    """Mixed into a trainer: the preset prompts, a clock around its sampling, and a look at what it sampled."""

    class Sampling:
        def _tokenize_prompts(self, _: Any) -> tuple[list[list[int]], None, dict[str, Any]]:
            return prompts, None, {}

        def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
            started_s = time.process_time()
            said = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
            clock.rollout_cpu_s.append(time.process_time() - started_s)
            if (lengths := [len(ids) for ids in said[0]]) != work.completion_tok:
                raise RuntimeError(
                    f"{work.trainer} sampled {lengths} tokens; the comparison needs {work.completion_tok}"
                )
            return said

    return Sampling
