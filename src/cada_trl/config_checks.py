"""Checks across the sections of a configuration that take more than a line. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cada_trl.config import Config, DataConfig, HardwareConfig


def check_data(data: DataConfig) -> None:
    """Errors: ValueError for a key that the dataset does not read, or one that it lacks."""
    if data.dataset == "twins":
        if data.twins != "both":
            raise ValueError(
                f"twins={data.twins} is for the twins beside another source; data=twins trains on both rows of a pair"
            )
        if data.n_probe is not None:
            raise ValueError(
                f"n_probe={data.n_probe} is not read with data=twins, whose probe is a fixed third of the pairs; leave "
                "it null"
            )
        if data.sampling != "stratified":
            raise ValueError(
                f"sampling={data.sampling} is not for data=twins, whose pairs are drawn evenly over hazards"
            )
        return
    for name, value in {"n_train": data.n_train, "n_probe": data.n_probe}.items():
        if value is None:
            raise ValueError(
                f"{name}=null is for data=twins; data={data.dataset} needs a number of rows, as in {name}=120"
            )


def no_correction(config: Config) -> str | None:
    """Why token-level importance weights would be wrong in this run; None where they are right or not asked for."""
    algo, rollout = config.algo, config.rollout
    if rollout.importance_cap is None:
        return None
    if algo.method != "cada":
        return f"acts with method=cada only; method={algo.method} has TRL's own correction, or needs none; set null"
    if rollout.backend == "transformers":
        return "corrects vLLM's sampling; rollout=transformers samples with the trained model itself: set it to null"
    if algo.learn_on == "request" and config.prompt.arm != "none":
        return "needs samples of the learned prompt (two prompts have no ratio): set learn_on=rollout or prompt=none"
    if rollout.top_p < 1.0:
        return "compares with the whole distribution, and top_p < 1 samples from a part of it: set top_p=1.0"
    return None


def check_sampling(config: Config) -> None:
    """Errors: ValueError where the rollouts' model is not in this process, or a checkpoint would fall among them."""
    algo, tracking = config.algo, config.tracking
    if algo.sampled_by == "reference" and not (algo.has_kl and config.rollout.backend == "transformers"):
        raise ValueError(
            "sampled_by=reference needs the reference model in this process: a beta_kl or benign_beta_kl above 0 and "
            "rollout=transformers, or sampled_by=policy"
        )
    if tracking.save_every_steps % algo.steps_per_rollout:
        fitting = -(-tracking.save_every_steps // algo.steps_per_rollout) * algo.steps_per_rollout
        raise ValueError(
            f"save_every_steps={tracking.save_every_steps} is no multiple of steps_per_rollout="
            f"{algo.steps_per_rollout}: a checkpoint between would lose rollouts; set save_every_steps={fitting}"
        )


def divisible(n_rollouts: int, hardware: HardwareConfig) -> str:
    """What to set so that the rollouts of a step fill whole micro-batches."""
    share, rest = divmod(n_rollouts, hardware.n_processes)
    if rest:
        return f"set requests_per_step to a multiple of n_processes = {hardware.n_processes}"
    fitting = max(size for size in range(1, min(share, hardware.micro_batch) + 1) if share % size == 0)
    return f"the next smaller that fits: micro_batch={fitting}"
