"""TRL's own trainers in a run: losses and rollouts as they are; the order of requests and the records are the run's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

from cada_trl.models.checks import check_keeps_reasoning
from cada_trl.models.prompts import as_data, ids_of, request_ids
from cada_trl.training.in_run import InRollouts, InRun
from cada_trl.training.requests import rollout_dataset, step_sampler
from cada_trl.training.run import AnyTrainer, Record, Run, rollout_arguments, training_arguments
from cada_trl.training.targets import Target, make_targets

Row = dict[str, list[dict[str, str]]] | dict[str, list[int]]
_NAMES = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/lr", "epoch": "train/epoch"}


class Recorded(InRun):
    """Mixed into a trainer of TRL: each optimiser step becomes one record, under the registry's names.

    names: what TRL logs beside the loss -> our metric.
    """

    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.remove_callback(PrinterCallback)
        self._clock = _StepClock()
        self.add_callback(self._clock)
        self._n_tok: list[float] = []  # of each micro-batch of the step, over all processes

    def _count(self, is_learned_bt: Tensor) -> None:
        self._n_tok.append(float(self.accelerator.reduce(is_learned_bt.sum().float())))

    def _average_over_tokens(self) -> None:
        """TRL's means over a micro-batch's tokens become the step's: TRL's own mean of them weighs short micro-batches
        like long ones. RLOO's KL is one value for the whole batch and stays."""
        of_step = self._metrics["train"]  # type: ignore[attr-defined]
        for name in ("kl", "entropy"):
            if self._n_tok and len(of_step.get(name, ())) == len(self._n_tok):
                total = sum(value * n for value, n in zip(of_step[name], self._n_tok, strict=True))
                of_step[name] = [total / sum(self._n_tok)]
        self._n_tok = []

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL adds its averages to `logs`; those that the registry names are recorded."""
        self._average_over_tokens()
        super().log(logs, start_time)
        if "grad_norm" not in logs:
            return
        names = _NAMES | dict(self.names)
        metrics = {ours: float(logs[theirs]) for theirs, ours in names.items() if theirs in logs}
        metrics["train/step_s"] = time.perf_counter() - self._clock.started_s
        extra, rows = self._rollouts_of_step(logs)
        self._record(self.state.global_step, extra | metrics, rows)

    def _rollouts_of_step(self, logs: Mapping[str, float]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Metrics and completions of a step that samples; none here."""
        return {}, []


class _StepClock(TrainerCallback):
    started_s = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started_s = time.perf_counter()


class RecordedRollouts(Recorded, InRollouts):
    """Mixed into GRPOTrainer or RLOOTrainer: pays completions as CADA does, and records them. They learn on the prompt
    that they sample; TRL leaves out what the judge gave no verdict on."""

    names: ClassVar[Mapping[str, str]] = {"entropy": "train/entropy_nats"}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        started_s = time.perf_counter()
        self._begin_rollouts(inputs)
        rollouts: dict[str, Tensor] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        rollout_s = time.perf_counter() - started_s
        part = {"inputs": inputs, "scored": self._scored, "truncated": self._truncated, **rollouts}
        self._step_record.start(part, [False] * len(inputs), None, rollout_s)
        return rollouts

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        self._count(inputs["completion_mask"])
        loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
        return loss

    def _rollouts_of_step(self, logs: Mapping[str, float]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        metrics, rows = self._recorded_step()
        if "kl" in logs:  # TRL's is a mean over tokens, ours a sum over a completion's
            metrics["train/kl_nats"] = float(logs["kl"]) * metrics["train/completion_tok"]
        return metrics, [{key: value for key, value in row.items() if key != "loss_share"} for row in rows]


class RecordedSFT(Recorded, SFTTrainer):
    """SFTTrainer as it is: cross-entropy of the targets' tokens, a mean over the tokens of a step."""

    names: ClassVar = {"entropy": "train/entropy_nats"}

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        self._count(inputs["labels"] != -100)
        return super().compute_loss(model, inputs, *given, **named)


class RecordedDPO(Recorded, DPOTrainer):
    """DPOTrainer as it is: sigmoid loss against the frozen initial model."""

    names: ClassVar = {
        "rewards/margins": "dpo/margin",
        "rewards/chosen": "dpo/chosen_reward",
        "rewards/rejected": "dpo/rejected_reward",
        "rewards/accuracies": "dpo/accuracy_frac",
    }


class RecordedGRPO(RecordedRollouts, GRPOTrainer):
    """GRPOTrainer as it is: group-normalised advantages, clipped ratio, k3 times the ratio in the loss."""


class RecordedRLOO(RecordedRollouts, RLOOTrainer):
    """RLOOTrainer as it is: leave-one-out baseline, clipped sequence ratio, k1 in the reward."""


def build_sft(run: Run, record: Record) -> RecordedSFT:
    """Supervised fine-tuning on targets, raw request in (paper, Baselines: SFT w DR, w S_c, w CR).

    Errors: UserError when no target was kept.
    """
    row = partial(said, run.tokenizer)
    return train_on(make_targets(run), row, RecordedSFT, SFTConfig, run, record, completion_only_loss=True)


def said(tokenizer: PreTrainedTokenizerBase, target: Target) -> Row:
    """Request and answer as token ids, the answer's marked to be learned; from messages TRL would end each answer."""
    prompt, answer = request_ids(tokenizer, target.request), ids_of(tokenizer, as_data(tokenizer, target.text))
    answer += [tokenizer.eos_token_id] * target.ended
    return {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}


def build_dpo(run: Run, record: Record) -> RecordedDPO:
    """Direct preference optimisation on the raw request (paper, Baselines: DPO w CR).

    Chosen: the model's own completion, on the template where the request is harmful. Rejected: the direct refusal.
    Errors: UserError when no pair is left: targets dropped, or equal to the refusal; and as check_keeps_reasoning.
    """
    if run.config.prompt.reasoning_as == "think":
        check_keeps_reasoning(run.tokenizer)
    rejected = str(run.config.algo.refusal_text)

    def row(target: Target) -> Row:
        answers = {"chosen": message("assistant", target.text), "rejected": message("assistant", rejected)}
        return {"prompt": message("user", target.request), **answers}

    targets = make_targets(run, unequal_to=rejected)
    return train_on(targets, row, RecordedDPO, DPOConfig, run, record, beta=run.config.algo.dpo_beta)


def train_on(
    targets: list[Target],
    row: Callable[[Target], Mapping[str, Any]],
    trainer_class: Callable[..., AnyTrainer],
    arguments_class: Callable[..., Any],
    run: Run,
    record: Record,
    **arguments: Any,
) -> AnyTrainer:
    """A trainer of targets; row writes a target in the trainer's form, arguments are the method's own.

    As many steps as any method takes of this run: fewer targets are passed over more often.
    """
    config = run.config
    asked = {request.id: request for request in (*run.data.train, *run.data.benign_train)}
    harmful, benign = (
        [asked[target.request_id] for target in targets if target.harmful is is_harmful] for is_harmful in (True, False)
    )
    shared = training_arguments(config, run.folder.checkpoints, len(run.data.train))
    args = arguments_class(**shared, max_length=None, **arguments)
    rows = Dataset.from_list([row(target) for target in targets])
    return run.built(trainer_class, args, rows, step_sampler(config, harmful, benign), record)


def message(role: str, text: str) -> list[dict[str, str]]:
    """One message, as TRL's conversational forms want it."""
    return [{"role": role, "content": text}]


def _train_by(
    trainer_class: Callable[..., AnyTrainer], arguments_class: Callable[..., Any], run: Run, record: Record
) -> AnyTrainer:
    """CADA's prompts and reward under TRL's own trainer."""
    config, data = run.config, run.data
    rows = rollout_dataset(config, data.train, data.benign_train, run.pack)
    args = arguments_class(
        **training_arguments(config, run.folder.checkpoints, len(data.train)),
        **rollout_arguments(config),
        beta=config.algo.beta_kl,
        num_generations=config.algo.rollouts_per_request,
    )
    sampler = step_sampler(config, data.train, data.benign_train, args.gradient_accumulation_steps)
    return run.built(trainer_class, args, rows, sampler, record, score=run.score)


build_grpo = partial(_train_by, RecordedGRPO, GRPOConfig)
build_rloo = partial(_train_by, RecordedRLOO, RLOOConfig)
