"""CADATrainer: centred-reward REINFORCE with a KL penalty against a frozen reference, on TRL's GRPOTrainer.

The one file that touches TRL's internals (trl 1.16; tests/trainers/test_trl_contract.py holds what is relied on). Left
out of GRPO: ratio, clipping, division by a standard deviation, the second (old) log-probability pass. Why GRPOTrainer
and not RLOOTrainer: docs/design.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object, is_peft_model
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer

from cada_trl.algo.baseline import Baselines
from cada_trl.algo.kl import BetaController, k1_bt, k2_bt, k3_bt, reward_penalty_bt
from cada_trl.algo.loss import cada_loss
from cada_trl.algo.mismatch import truncated_weights
from cada_trl.algo.packing import Packed, micro_batches, tokens_of
from cada_trl.algo.scores import TokenScores
from cada_trl.models.continuation import sampled
from cada_trl.reward import ScoredCompletion, unjudged
from cada_trl.rollouts.swap import checked_generation
from cada_trl.trainers.cada_config import CADAConfig
from cada_trl.trainers.in_run import InRun
from cada_trl.trainers.prefix_generation import generate_with_shared_prefixes
from cada_trl.trainers.sampler import RolloutSampler
from cada_trl.trainers.scoring_head import add_scoring_head
from cada_trl.trainers.sharding import whole
from cada_trl.trainers.step_record import StepRecord

STATE_FILE = "cada_state.json"

Score = Callable[[list[dict[str, Any]], list[str], list[bool]], list[ScoredCompletion]]
Record = Callable[[int, dict[str, float], list[dict[str, Any]]], None]


class CADATrainer(InRun, GRPOTrainer):
    """Samples on the dataset's `prompt`, learns on its `learn_prompt` (the same column values for learn_on=rollout).

    train_dataset columns: prompt, learn_prompt (chat messages), and whatever score and record need. score: (rows,
    completions, truncated) -> ScoredCompletion each. record: called once an optimiser step on every process with
    (step, metrics, a dict a completion).
    """

    args: CADAConfig
    # TRL and transformers type these as optional; a trainer that was built has them.
    model: Any
    ref_model: Any
    train_dataset: Any
    processing_class: Any
    num_generations: int
    _buffered_inputs: Any
    vllm_generation: Any

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: CADAConfig,
        train_dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        score: Score,
        record: Record | None = None,
        callbacks: list[TrainerCallback] | None = None,
        peft_config: Any = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        self._score, self._record = score, record
        with checked_generation(args.use_vllm):
            super().__init__(
                model=model,
                reward_funcs=self._reward,
                args=args,
                train_dataset=train_dataset,
                processing_class=processing_class,
                callbacks=callbacks,
                peft_config=peft_config,
                optimizers=optimizers,
            )
        self.beta = 0.0  # TRL has built its reference by now; scores, KL and loss are ours
        self._policy = self.model.get_base_model() if is_peft_model(self.model) else self.model
        add_scoring_head(self._policy)
        if self.ref_model is not None:
            add_scoring_head(self.accelerator.unwrap_model(self.ref_model))
            self.ref_model.requires_grad_(False)
        self.baselines = Baselines(args.baseline, self.num_generations, args.baseline_rate, args.baseline_start)
        self.beta_controller = BetaController(args.beta_kl, args.target_kl_nats)
        self._step_record = StepRecord()
        self._rollouts: dict[str, Any] | None = None

    # Which requests, and their rollouts

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler:
        args, dataset = self.args, self.train_dataset if dataset is None else dataset
        n_harmful = len(dataset) if args.n_harmful is None else args.n_harmful
        assert args.generation_batch_size is not None  # GRPOConfig works it out
        return RolloutSampler(
            n_harmful=n_harmful,
            n_benign=len(dataset) - n_harmful,
            requests_per_step=args.generation_batch_size // args.steps_per_rollout // self.num_generations,
            benign_per_step=args.benign_per_step,
            rollouts_per_request=self.num_generations,
            n_micro=args.gradient_accumulation_steps,
            seed=args.seed,
            twin_of=args.twin_of,
            steps_per_rollout=args.steps_per_rollout,
            n_processes=self.accelerator.num_processes,
        )

    def _reward(self, prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        """TRL's reward function; its rows arrive through _generate_and_score_completions."""
        truncated = [ids[-1] not in self.eos_token_ids for ids in completion_ids]
        texts = [messages[0]["content"] for messages in completions]
        judged = [place for place, row in enumerate(self._rows) if not self._is_anchor(row)]
        rows = [self._rows[place] for place in judged]
        scored = self._score(rows, [texts[place] for place in judged], [truncated[place] for place in judged])
        self._scored = [unjudged(text, cut) for text, cut in zip(texts, truncated, strict=True)]
        for place, one in zip(judged, scored, strict=True):
            self._scored[place] = one
        self._truncated = truncated
        # TRL warns of a row without a reward; an anchor's is taken out again before anything is learned from it.
        return [0.0 if self._is_anchor(row) else one.reward for row, one in zip(self._rows, self._scored, strict=True)]

    def _is_anchor(self, row: dict[str, Any]) -> bool:
        """A harmless request that is sampled for a few tokens and not judged: its KL alone counts (ours)."""
        return self.args.benign_tok is not None and not row.get("harmful", True)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._reward_all_b = rewards[:, 0]
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The rollouts of steps_per_rollout optimiser steps, one step's rows after the other's."""
        started_s = time.perf_counter()
        self._rows = inputs
        # Seeded by step, so that a resumed run samples what the uninterrupted one did.
        rank, n_ranks = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed((self.args.seed * 1_000_003 + self.state.global_step) * n_ranks + rank)
        rollouts = super()._generate_and_score_completions(inputs)
        if self.args.learn_on == "request":
            rollouts["learn_ids"] = self._tokenize_prompts([row["learn_prompt"] for row in inputs])[0]
        else:
            rollouts["learn_ids"] = tokens_of(rollouts["prompt_ids"], rollouts["prompt_mask"])
        rollouts["completions"] = tokens_of(rollouts["completion_ids"], rollouts["completion_mask"])
        rollouts["inputs"], rollouts["scored"], rollouts["truncated"] = inputs, self._scored, self._truncated
        # Gathered rewards are rank by rank, and on each rank step by step.
        rollouts["reward_ksb"] = self._reward_all_b.view(n_ranks, self.args.steps_per_rollout, -1)
        rollouts["rollout_s"] = (time.perf_counter() - started_s) / self.args.steps_per_rollout
        return rollouts

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> tuple[None, None, None]:
        """TRL's second pass over the rollouts, for a ratio that the loss here does not have."""
        return None, None, None

    def _step_of(self, rollouts: dict[str, Any], step: int) -> dict[str, Any]:
        """One optimiser step's part of this rank's rollouts, with advantages and weights over all ranks."""
        rank, reward_b = self.accelerator.process_index, rollouts["reward_ksb"][:, step].flatten()
        size = len(reward_b) // self.accelerator.num_processes
        here, mine = slice(step * size, (step + 1) * size), slice(rank * size, (rank + 1) * size)
        names = ("inputs", "scored", "truncated", "learn_ids", "completions", "completion_mask")
        part = {name: rollouts[name][here] for name in names}
        if self.args.importance_cap is not None:
            part["sampler_logp"] = rollouts["sampling_per_token_logps"][here]
        anchors = [self._is_anchor(row) for row in part["inputs"]]
        harmful_b = torch.tensor(gather_object([bool(row.get("harmful", True)) for row in part["inputs"]]))
        anchor_b = torch.tensor(gather_object(anchors)).to(reward_b.device)
        reward_b = reward_b.masked_fill(anchor_b, torch.nan)
        counts_b = ~reward_b.isnan() | anchor_b
        part["advantages"] = self.baselines.centred_b(reward_b, harmful_b.to(reward_b.device))[mine]
        part["weight"] = (counts_b.float() / counts_b.sum().clamp(min=1))[mine]
        part["beta"] = self._beta_b(harmful_b[mine])
        self._step_record.start(part, anchors, self.baselines.harmful.value, rollouts["rollout_s"])
        return part

    def _beta_b(self, harmful_b: Tensor) -> Tensor:
        """The KL's weight of each row."""
        beta_kl, benign_beta_kl = self.beta_controller.value, self.args.benign_beta_kl
        benign = torch.tensor(beta_kl if benign_beta_kl is None else benign_beta_kl)
        return torch.where(harmful_b, torch.tensor(beta_kl), benign).to(self.args.device)

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], Any]:
        """transformers rollouts run each hazard's cases once; vLLM, FSDP and continuous ones are TRL's own."""
        most = [self._max_new_tok(row) for row in self._rows]
        if self.use_vllm or self.use_transformers_continuous_batching or self.is_fsdp_enabled:
            said, logp = super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)
            said = [ids[:n] for ids, n in zip(said, most, strict=True)]
            return said, logp and [one[:n] for one, n in zip(logp, most, strict=True)]
        groups = [(row.get("prompt_arm"), row.get("hazard")) for row in self._rows]
        choose = sampled(self.args.temperature, self.args.top_p)
        with self.reference_model() if self.args.sampled_by == "reference" else self.sampling_model() as model:
            said = generate_with_shared_prefixes(model, prompt_ids, groups, choose, self.eos_token_ids, most)
        return said, None

    def _max_new_tok(self, row: dict[str, Any]) -> int:
        most_tok = self.args.benign_tok if self._is_anchor(row) else self.args.max_completion_length
        assert most_tok is not None  # CADAConfig is always given one
        return most_tok

    def sample(self, rows: list[dict[str, Any]], seed: int) -> list[list[int]]:
        """A completion of each row's `prompt`, token ids sampled as in training; every process gives its own rows."""
        self._rows = rows
        torch.manual_seed(seed * self.accelerator.num_processes + self.accelerator.process_index)
        prompt_ids = self._tokenize_prompts([row["prompt"] for row in rows])[0]
        return self._generate_single_turn(prompt_ids, None, {}, self.num_generations)[0]

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Generate once a step, then hand out micro-batches ordered so that little padding is scored."""
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        place = self._step % self.args.gradient_accumulation_steps
        if place == 0 or self._buffered_inputs is None:
            step = self.state.global_step % self.args.steps_per_rollout
            if step == 0 or self._rollouts is None:
                self._rollouts = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = self._micro_batches(self._step_of(self._rollouts, step))
        return self._buffered_inputs[place]

    def _micro_batches(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        names = ("advantages", "weight", "beta", "completion_mask", "sampler_logp")
        values = {name: part[name] for name in names if name in part}
        size, device = self.args.per_device_train_batch_size, self.args.device
        return micro_batches(part["learn_ids"], part["completions"], values, size, self.args.share_prefix, device)

    def stop_here(self) -> None:
        """Only where the next rollouts would be sampled: a checkpoint between would lose those that are left."""
        if self.state.global_step % self.args.steps_per_rollout == 0:
            super().stop_here()

    def _reference(self, packed: Packed) -> tuple[Tensor | None, Tensor | None]:
        """Hidden states and head of the frozen reference: its own model, or the policy with its adapter off."""
        if self.args.beta == 0.0:
            return None, None
        with torch.no_grad(), self.accelerator.autocast():
            if self.ref_model is not None:
                frozen = self.accelerator.unwrap_model(self.ref_model)
                return self.ref_model(packed=packed), whole(frozen.get_output_embeddings().weight)
            with self.accelerator.unwrap_model(self.model).disable_adapter():
                return self.model(packed=packed), whole(self._policy.get_output_embeddings().weight)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        args, packed = self.args, inputs["packed"]
        ref_hidden_nh, ref_weight_vh = self._reference(inputs.get("ref_packed", packed))
        with self.accelerator.autocast():
            scores: TokenScores = model(
                packed=packed,
                temperature=args.temperature,
                ref_hidden_nh=ref_hidden_nh,
                ref_weight_vh=ref_weight_vh,
                exact_kl=args.kl == "exact",
                kl_direction=args.distil_kl or "reverse",
            )
        mask_bt = inputs["completion_mask"]
        n_t = mask_bt.shape[1]
        logp_bt = packed.to_bt(scores.logp_n, n_t)
        kl_bt, penalty_bt = self._kl_terms(inputs, scores, logp_bt)
        importance_bt = None
        if args.importance_cap is not None:
            mismatch = truncated_weights(logp_bt, inputs["sampler_logp"], mask_bt, args.importance_cap)
            importance_bt = mismatch.weight_bt
            self._step_record.add_mismatch(inputs["rows"], mismatch)
        loss = cada_loss(
            logp_bt,
            mask_bt,
            inputs["advantages"],
            inputs["weight"],
            kl_bt,
            inputs["beta"],
            args.logp,
            penalty_bt,
            importance_bt,
            args.first_tok_weight,
        )
        self._step_record.add_scores(inputs["rows"], logp_bt.sum(1), packed.to_bt(scores.entropy_n, n_t).sum(1), loss)
        # Ranks average their gradients, and weight_b already divides by the rollouts of all of them.
        return loss * self.accelerator.num_processes if model.training else loss

    def _kl_terms(
        self, inputs: dict[str, Any], scores: TokenScores, logp_bt: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """The KL a token as a term of the loss, or as a cost in the reward; None is the other one, or both."""
        if scores.ref_logp_n is None:
            return None, None
        packed, mask_bt, n_t = inputs["packed"], inputs["completion_mask"], logp_bt.shape[1]
        ref_logp_bt = packed.to_bt(scores.ref_logp_n, n_t)
        k1_all_bt, k3_all_bt = k1_bt(logp_bt, ref_logp_bt) * mask_bt, k3_bt(logp_bt, ref_logp_bt) * mask_bt
        kl_bt = penalty_bt = None
        if self.args.kl_in != "loss":
            penalty_bt = reward_penalty_bt(logp_bt, ref_logp_bt, mask_bt, self.args.kl_in == "reward_to_go")
        elif scores.kl_n is not None:
            kl_bt = packed.to_bt(scores.kl_n, n_t)
        else:
            kl_bt = {"k2": k2_bt, "k3": k3_bt}[self.args.kl](logp_bt, ref_logp_bt)
        cost_bt = k1_all_bt if kl_bt is None else kl_bt
        self._step_record.add_kl(inputs["rows"], cost_bt.sum(1), k1_all_bt.sum(1), k3_all_bt.sum(1))
        return kl_bt, penalty_bt

    # Records and checkpoints

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One record an optimiser step (logging_steps=1) instead of TRL's tables."""
        if "grad_norm" not in logs:
            return
        rows = self._step_record.rows()
        everyone: Sequence[dict[str, Any]] = gather_object(rows)
        metrics = self._step_record.metrics(everyone)
        metrics |= {
            "train/beta_kl": self.beta_controller.value,
            "train/grad_norm": float(logs["grad_norm"]),
            "train/lr": float(logs["learning_rate"]),
            "train/epoch": float(logs.get("epoch", self.state.epoch or 0.0)),
        }
        if self.use_vllm:
            metrics |= self.vllm_generation.step_metrics()
        if metrics.get("train/kl_nats") is not None:
            self.beta_controller.update(metrics["train/kl_nats"])
        self.state.log_history.append({"step": self.state.global_step, **metrics})
        if self._record is not None:
            self._record(self.state.global_step, metrics, list(everyone))

    def _save_state(self, checkpoint: Path) -> None:
        state = {**self.baselines.state(), "beta_kl": self.beta_controller.value}
        (checkpoint / STATE_FILE).write_text(json.dumps(state))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text())
            self.baselines.load(state)
            self.beta_controller.value = state["beta_kl"]
