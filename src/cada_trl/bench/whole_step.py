"""Measure whole training steps of one trainer, its own sampling and its update: its process does nothing else.

Prompts and the lengths of the completions are preset, the tokens are sampled from random weights: an end token is
forced where a row's length is reached and forbidden before. CADA decodes with its own loop (each shared prefix once,
rows leave as they end), stock GRPOTrainer with transformers' generate.
"""

from __future__ import annotations

import functools
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from cada_trl.bench.one_step import EOS, Work, build_trainer, preset_rollouts
from cada_trl.models.continuation import Choose, sampled


def measure_whole(work: Work) -> dict[str, Any]:
    """Run 1 + n_timed steps. Returns rollout_cpu_s, update_cpu_s (all of a step but its sampling), peak_mib.

    The first two are lists, one value a timed step; the last is this process's.
    """
    import transformers

    from cada_trl.trainers import cada

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    clock, lengths = _Clock(), work.completion_tok
    with tempfile.TemporaryDirectory() as folder, patch.object(cada, "sampled", _ending_at(lengths)):
        trainer, _ = build_trainer(work, Path(folder), _sampling(work, clock))
        if work.trainer == "stock":
            trainer.model.generate = _generate_ending_at(trainer.model.generate, lengths)
        trainer.add_callback(clock.callback())
        trainer.train()
    rollout_cpu_s, step_cpu_s = clock.rollout_cpu_s[1:], clock.step_cpu_s[1:]
    return {
        "rollout_cpu_s": rollout_cpu_s,
        "update_cpu_s": [step - rollout for step, rollout in zip(step_cpu_s, rollout_cpu_s, strict=True)],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


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


def _sampling(work: Work, clock: _Clock) -> type:
    """Mixed into a trainer: the preset prompts, a clock around its sampling, and a look at what it sampled."""
    prompts, _ = preset_rollouts(work)

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


def _ended(logits_bv: Tensor, lengths_b: Sequence[int], n_said: int) -> Tensor:
    """The logits with the end token forced in rows whose last token is next, and forbidden in the others."""
    last_b = torch.tensor([n_said + 1 == length for length in lengths_b], device=logits_bv.device)
    logits_bv = logits_bv.clone()
    logits_bv[~last_b, EOS] = -torch.inf
    logits_bv[last_b] = torch.where(torch.arange(logits_bv.shape[1]) == EOS, 0.0, -torch.inf).to(logits_bv)
    return logits_bv


def _ending_at(lengths: Sequence[int]) -> Any:
    """`sampled` of our decoding loop, from which a row leaves once it has its length."""

    def sampled_to_length(temperature: float, top_p: float) -> Choose:
        choose, n_said = sampled(temperature, top_p), 0

        def choose_to_length(logits_bv: Tensor) -> Tensor:
            nonlocal n_said
            going = [length for length in lengths if length > n_said]
            token_b = choose(_ended(logits_bv, going, n_said))
            n_said += 1
            return token_b

        return choose_to_length

    return sampled_to_length


def _generate_ending_at(generate: Any, lengths: Sequence[int]) -> Any:
    """transformers' generate, which keeps every row to the last one's end."""
    from transformers import LogitsProcessorList

    def generate_to_length(**kwargs: Any) -> Any:
        n_prompt = kwargs["input_ids"].shape[1]

        def processor(ids_bt: Tensor, logits_bv: Tensor) -> Tensor:
            return _ended(logits_bv, lengths, ids_bt.shape[1] - n_prompt)

        return generate(**kwargs, logits_processor=LogitsProcessorList([processor]))

    return functools.wraps(generate)(generate_to_length)
