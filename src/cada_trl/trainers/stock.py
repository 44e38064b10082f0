"""TRL's own trainers in a run: losses and rollouts as they are; the order of requests and the records are the run's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from cada_trl.methods.run import Record
from cada_trl.reward import ScoredCompletion
from cada_trl.rollouts.swap import checked_generation
from cada_trl.trainers.in_run import InRun
from cada_trl.trainers.sampler import RolloutSampler
from cada_trl.trainers.step_record import StepRecord

if TYPE_CHECKING:
    from cada_trl.trainers.cada import Score

_NAMES = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/lr", "epoch": "train/epoch"}


class Recorded(InRun):
    """Mixed into a trainer of TRL: each optimiser step becomes one record, under the registry's names.

    sampler: the requests of each step. names: what TRL logs beside the loss -> our metric.
    """

    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *args: Any, sampler: RolloutSampler, record: Record, **kwargs: Any) -> None:
        self._sampler, self._record = sampler, record
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(_StepClock(self))
        self._started_s = time.perf_counter()

    def _get_train_sampler(self, *_: Any) -> RolloutSampler:
        return self._sampler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL adds its averages to `logs`; those that the registry names are recorded."""
        super().log(logs, start_time)
        if "grad_norm" not in logs:
            return
        step_s = time.perf_counter() - self._started_s
        names = _NAMES | dict(self.names)
        metrics = {ours: float(logs[theirs]) for theirs, ours in names.items() if theirs in logs}
        metrics |= {"train/step_s": step_s}
        extra, rows = self._rollouts_of_step(logs)
        self._record(self.state.global_step, extra | metrics, rows)

    def _rollouts_of_step(self, logs: Mapping[str, float]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Metrics and completions of a step that samples; none here."""
        return {}, []


class _StepClock(TrainerCallback):
    def __init__(self, trainer: Recorded) -> None:
        self._trainer = trainer

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._trainer._started_s = time.perf_counter()


class RecordedRollouts(Recorded):
    """Mixed into GRPOTrainer or RLOOTrainer: pays completions as CADA does, and records them."""

    names: ClassVar[Mapping[str, str]] = {"entropy": "train/entropy_nats"}
    eos_token_ids: Any
    use_vllm: bool
    vllm_generation: Any

    def __init__(self, *args: Any, score: Score, **kwargs: Any) -> None:
        self._score, self._step_record = score, StepRecord()
        with checked_generation(kwargs["args"].use_vllm):
            super().__init__(*args, reward_funcs=self._reward, **kwargs)

    def _reward(self, prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
        self._truncated = [ids[-1] not in self.eos_token_ids for ids in completion_ids]
        texts = [messages[0]["content"] for messages in completions]
        self._scored: list[ScoredCompletion] = self._score(self._rows, texts, self._truncated)
        return [one.reward for one in self._scored]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        started_s = time.perf_counter()
        self._rows = inputs
        rank, n_ranks = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed((self.args.seed * 1_000_003 + self.state.global_step) * n_ranks + rank)
        rollouts: dict[str, Tensor] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        rollout_s = time.perf_counter() - started_s
        part = {"inputs": inputs, "scored": self._scored, "truncated": self._truncated, **rollouts}
        self._step_record.start(part, [False] * len(inputs), None, rollout_s)
        return rollouts

    def _rollouts_of_step(self, logs: Mapping[str, float]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = gather_object(self._step_record.rows())
        metrics = self._step_record.metrics(rows)
        if "kl" in logs:  # TRL's is a mean over tokens, ours a sum over a completion's
            metrics["train/kl_nats"] = float(logs["kl"]) * metrics["train/completion_tok"]
        if self.use_vllm:
            metrics |= self.vllm_generation.step_metrics()
        return metrics, [{key: value for key, value in row.items() if key != "loss_share"} for row in rows]
