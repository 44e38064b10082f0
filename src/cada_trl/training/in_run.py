"""What a run asks of any trainer: a model ready to sample, samples seeded by the step, judged and paid by the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import PreTrainedModel
from trl.models import unwrap_model_for_generation

from cada_trl.models.cpu_decoding import decoding_attention
from cada_trl.models.cpu_weights import in_autocast_dtype, packed_linear
from cada_trl.models.load import compute_rotary_tables
from cada_trl.reward import ScoredCompletion, unjudged
from cada_trl.rollouts.generation import checked_generation
from cada_trl.training.checkpoints import Resumable
from cada_trl.training.requests import RolloutSampler
from cada_trl.training.run import Record, Score
from cada_trl.training.step_record import StepRecord


class InRun(Resumable):
    """Mixed into a trainer of TRL, before it in the order of bases."""

    def __init__(self, *, sampler: RolloutSampler, record: Record = lambda *_: None, **given: Any) -> None:
        """sampler: the requests of each step. record: called once per optimiser step on every process."""
        self._sampler, self._record = sampler, record
        super().__init__(**given)
        if self.ref_model is not None:  # loaded by TRL
            compute_rotary_tables(self.accelerator.unwrap_model(self.ref_model))

    def _get_train_sampler(self, *_: Any) -> RolloutSampler:
        return self._sampler

    @contextmanager
    def sampling_model(self) -> Iterator[PreTrainedModel]:
        """The policy made ready to generate: unwrapped, on its device, whole, decoding attention on, weights packed, no
        dropout: with it each token would come from another policy.

        A rank's number of forward calls is its own: the weights are gathered once, and no call waits for other ranks.
        With bf16 they are cast once, too: each forward call has an autocast of its own, which would cast all of them
        for a single token.
        """
        wrapped: Any = self.model_wrapped
        if wrapped is self.model:
            self.model.to(self.args.device)  # DeepSpeed moves it when training starts
        with self._ready_to_sample(wrapped) as model:
            yield model

    @contextmanager
    def reference_model(self) -> Iterator[PreTrainedModel]:
        """The frozen initial model made ready likewise: a model of its own, or the policy with its adapter off."""
        if self.ref_model is not None:
            with self._ready_to_sample(self.ref_model) as model:
                yield model
        else:
            with self.sampling_model() as model, self.accelerator.unwrap_model(self.model).disable_adapter():
                yield model

    @contextmanager
    def _ready_to_sample(self, wrapped: Any) -> Iterator[PreTrainedModel]:
        with (
            torch.no_grad(),
            self.accelerator.autocast(),
            unwrap_model_for_generation(
                wrapped,
                self.accelerator,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,  # type: ignore[arg-type]
            ) as model,
        ):
            was_training = model.training
            model.eval()
            try:
                with packed_linear(model), in_autocast_dtype(model), decoding_attention(model):
                    yield model
            finally:
                model.train(was_training)


class InRollouts(InRun):
    """Mixed into a trainer of TRL that samples in every step. score judges and pays its completions."""

    eos_token_ids: Any
    use_vllm: bool
    vllm_generation: Any
    _rows: list[dict[str, Any]]  # the dataset's, of the completions that are being sampled and judged
    _scored: list[ScoredCompletion]
    _truncated: list[bool]

    def __init__(self, *, args: Any, score: Score, **given: Any) -> None:
        self._score, self._step_record = score, StepRecord()
        with checked_generation(args.use_vllm, args.output_dir):
            super().__init__(args=args, reward_funcs=self._reward, **given)

    def _seed(self, seed: int) -> None:
        """Torch's seed of this rank."""
        torch.manual_seed(seed * self.accelerator.num_processes + self.accelerator.process_index)

    def _begin_rollouts(self, rows: list[dict[str, Any]]) -> None:
        """Seeded by step, so that a resumed run samples what the uninterrupted one did."""
        self._rows = rows
        self._seed(self.args.seed * 1_000_003 + self.state.global_step)

    def _recorded_step(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Metrics and completions of the step, from all processes."""
        rows: list[dict[str, Any]] = gather_object(self._step_record.rows())
        metrics = self._step_record.metrics(rows)
        if self.use_vllm:
            metrics |= self.vllm_generation.step_metrics()
        return metrics, rows

    def _is_anchor(self, row: dict[str, Any]) -> bool:
        """Whether a row is sampled and not judged."""
        return False

    def _reward(self, prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """TRL's reward function; its rows are those of _begin_rollouts. NaN where the judge gave no verdict."""
        self._truncated = [ids[-1] not in self.eos_token_ids for ids in completion_ids]
        texts = [messages[0]["content"] for messages in completions]
        self._scored = [unjudged(text, cut) for text, cut in zip(texts, self._truncated, strict=True)]
        judged = [place for place, row in enumerate(self._rows) if not self._is_anchor(row)]
        rows, cut = [self._rows[place] for place in judged], [self._truncated[place] for place in judged]
        for place, scored in zip(judged, self._score(rows, [texts[place] for place in judged], cut), strict=True):
            self._scored[place] = scored
        # TRL warns of a row without a reward; an anchor's is taken out again before anything is learned from it.
        anchors = set(range(len(texts))) - set(judged)
        return [0.0 if place in anchors else scored.reward for place, scored in enumerate(self._scored)]
