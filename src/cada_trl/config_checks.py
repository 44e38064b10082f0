"""Checks across the sections of a configuration that take more than a line. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cada_trl.config import Config, HardwareConfig


def no_correction(config: Config) -> str | None:
    """Why token-level importance weights would be wrong in this run; None where they are right or not asked for."""
    algo, rollout = config.algo, config.rollout
    if rollout.importance_cap is None:
        return None
    if algo.method != "cada":
        return f"acts with method=cada only; method={algo.method} has TRL's own correction: set it to null"
    if rollout.backend == "transformers":
        return "corrects vLLM's sampling; rollout=transformers samples with the trained model itself: set it to null"
    if algo.learn_on == "request" and config.prompt.arm != "none":
        return "needs samples of the learned prompt (two prompts have no ratio): set learn_on=rollout or prompt=none"
    if rollout.top_p < 1.0:
        return "compares with the whole distribution, and top_p < 1 samples from a part of it: set top_p=1.0"
    return None


def divisible(n_rollouts: int, hardware: HardwareConfig) -> str:
    """What to set so that the rollouts of a step fill whole micro-batches."""
    share, rest = divmod(n_rollouts, hardware.n_processes)
    if rest:
        return f"set requests_per_step to a multiple of n_processes = {hardware.n_processes}"
    fitting = max(size for size in range(1, min(share, hardware.micro_batch) + 1) if share % size == 0)
    return f"the next smaller that fits: micro_batch={fitting}"
