"""CADATrainer: centred-reward REINFORCE with a KL penalty against a frozen reference, on TRL's GRPOTrainer.

It samples on the dataset's `prompt` and learns on its `learn_prompt`. With its arguments (cada_config.py) the one place
that touches TRL's internals (trl 1.16; tests/training/test_trl_contract.py holds what is relied on). Left out of GRPO:
ratio, clipping, division by a standard deviation, the second (old) log-probability pass. Why not RLOOTrainer:
docs/design.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object, is_peft_model
from torch import Tensor
from trl import GRPOTrainer

from cada_trl.algo.baseline import Baselines, first_tok_advantage_b
from cada_trl.algo.objective import cada_loss, k1_bt, k2_bt, k3_bt, reward_penalty_bt, steered_beta, truncated_weights
from cada_trl.algo.packing import Packed, learned_rows, micro_batches, tokens_of
from cada_trl.algo.scores import TokenScores
from cada_trl.models.sampling import generate_with_shared_prefixes, sampled
from cada_trl.training.cada_config import CADAConfig, cada_arguments
from cada_trl.training.checkpoints import whole
from cada_trl.training.in_run import InRollouts
from cada_trl.training.requests import first_tok_only, rollout_dataset, step_sampler
from cada_trl.training.run import Record, Run
from cada_trl.training.scoring_head import add_scoring_head

STATE_FILE = "cada_state.json"
SHORT = "first_tok_only"  # marks a row of the dataset


class CADATrainer(InRollouts, GRPOTrainer):
    """train_dataset: prompt and learn_prompt (chat messages), and whatever score and record need."""

    args: CADAConfig
    # TRL and transformers type these as optional; a trainer that was built has them.
    train_dataset: Any
    processing_class: Any
    num_generations: int
    _buffered_inputs: Any
    per_rollout: Sequence[str] = ("inputs", "scored", "truncated", "learn_ids", "completions", "completion_mask")

    def __init__(self, **given: Any) -> None:
        """given: as GRPOTrainer, and what in_run.py asks for."""
        super().__init__(**given)
        args = self.args
        self.beta = 0.0  # TRL has built its reference by now; scores, KL and loss are ours
        self._policy = self.model.get_base_model() if is_peft_model(self.model) else self.model
        add_scoring_head(self._policy)
        if self.ref_model is not None:
            add_scoring_head(self.accelerator.unwrap_model(self.ref_model), like=self._policy)
            self.ref_model.requires_grad_(False)
        self.baselines = Baselines(args.baseline, self.num_generations, args.baseline_rate, args.baseline_start)
        self.beta_kl = args.beta_kl
        self._rollouts: dict[str, Any] | None = None

    @property
    def score_temperature(self) -> float:
        """Of the log-probabilities: the sampler's own, but where the reference samples the policy as it is (ours: such
        completions are off-policy at any temperature, and a low one has the reference refuse more often)."""
        return 1.0 if self.args.sampled_by == "reference" else self.args.temperature

    # 1. The requests of a block of steps, and their rollouts

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """One micro-batch; the first of a block of steps has the block sampled, the first of a step has it centred."""
        place = self._step % self.args.gradient_accumulation_steps
        if place == 0 or self._buffered_inputs is None:
            step = self.state.global_step % self.args.steps_per_rollout
            if step == 0 or self._rollouts is None:
                self._rollouts = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = self._micro_batches(self._step_of(self._rollouts, step))
        return self._buffered_inputs[place]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The rollouts of steps_per_rollout optimiser steps, one step's rows after the other's."""
        started_s = time.perf_counter()
        inputs = self._marked(inputs)
        self._begin_rollouts(inputs)
        rollouts = super()._generate_and_score_completions(inputs)
        column = "learn_prompt" if self.args.learn_on == "request" else "prompt"
        rollouts["learn_ids"] = self._tokenize_prompts([row[column] for row in inputs])[0]
        rollouts["completions"] = tokens_of(rollouts["completion_ids"], rollouts["completion_mask"])
        rollouts |= {"inputs": inputs, "scored": self._scored, "truncated": self._truncated}
        # Gathered rewards are rank by rank, and on each rank step by step.
        n_ranks = self.accelerator.num_processes
        rollouts["reward_ksb"] = self._reward_all_b.view(n_ranks, self.args.steps_per_rollout, -1)
        rollouts["rollout_s"] = (time.perf_counter() - started_s) / self.args.steps_per_rollout
        return rollouts

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], Any]:
        """transformers rollouts run each hazard's cases once; vLLM, FSDP and continuous ones are TRL's own."""
        longest = self.args.max_completion_length or 0
        most_tok = (longest, min(self.args.benign_tok or 0, longest))
        most = [1 if row.get(SHORT) else most_tok[self._is_anchor(row)] for row in self._rows]
        if self.use_vllm or self.use_transformers_continuous_batching or self.is_fsdp_enabled:
            completions, logp = super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)
            completions = [ids[:n] for ids, n in zip(completions, most, strict=True)]
            return completions, logp and [logp_t[:n] for logp_t, n in zip(logp, most, strict=True)]
        groups = [(row.get("prompt_arm"), row.get("hazard")) for row in self._rows]
        choose = sampled(self.args.temperature, self.args.top_p)
        with self.reference_model() if self.args.sampled_by == "reference" else self.sampling_model() as model:
            return generate_with_shared_prefixes(model, prompt_ids, groups, choose, self.eos_token_ids, most), None

    def sample(self, rows: list[dict[str, Any]], seed: int) -> list[list[int]]:
        """A completion of each row's `prompt`, token ids sampled as in training; every process gives its own rows."""
        self._rows = rows
        self._seed(seed)
        prompt_ids = self._tokenize_prompts([row["prompt"] for row in rows])[0]
        return self._generate_single_turn(prompt_ids, None, {}, self.num_generations)[0]

    def _is_anchor(self, row: dict[str, Any]) -> bool:
        """What is sampled for a few tokens and not judged (ours): of a harmless request its KL alone counts, and of a
        harmful one the first token is paid what judged completions that begin so are."""
        return row.get(SHORT, False) or (self.args.benign_tok is not None and not row.get("harmful", True))

    def _marked(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """This rank's rows of a block of steps, those marked whose first token alone is sampled."""
        size, of_step = len(rows) // self.args.steps_per_rollout, self._sampler
        kinds = (of_step.harmful_per_step, of_step.benign_per_step)
        short = first_tok_only(*kinds, self.args.first_tok_per_step, self.num_generations)
        first = self.accelerator.process_index * size
        return [{**row, SHORT: short[first + place % size]} for place, row in enumerate(rows)]

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._reward_all_b = rewards[:, 0]
        return rewards

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> tuple[None, None, None]:
        """TRL's second pass over the rollouts, for a ratio that the loss here does not have."""
        return None, None, None

    # 2. One step's part of them, centred, in micro-batches

    def _step_of(self, rollouts: dict[str, Any], step: int) -> dict[str, Any]:
        """One optimiser step's part of this rank's rollouts, with advantages and weights over all ranks."""
        rank, reward_b = self.accelerator.process_index, rollouts["reward_ksb"][:, step].flatten()
        size = len(reward_b) // self.accelerator.num_processes
        here, mine = slice(step * size, (step + 1) * size), slice(rank * size, (rank + 1) * size)
        part = {name: rollouts[name][here] for name in self.per_rollout}
        if self.args.importance_cap is not None:
            part["sampler_logp"] = rollouts["sampling_per_token_logps"][here]
        anchors = [self._is_anchor(row) for row in part["inputs"]]
        harmful = [bool(row.get("harmful", True)) for row in part["inputs"]]
        short = [bool(row[SHORT] and row.get("harmful", True)) for row in part["inputs"]]
        first_tok = [ids[0] for ids in part["completions"]]
        harmful_b, anchor_b, short_b, first_tok_b = (
            torch.tensor(gather_object(of_b), device=reward_b.device) for of_b in (harmful, anchors, short, first_tok)
        )
        reward_b = reward_b.masked_fill(anchor_b, torch.nan)
        counts_b, judged_b = ~reward_b.isnan() | anchor_b, ~reward_b.isnan() & harmful_b
        advantage_b = self.baselines.centred_b(reward_b, harmful_b)
        part["advantages"] = first_tok_advantage_b(advantage_b, first_tok_b, judged_b, short_b)[mine]
        part["weight"] = (counts_b.float() / counts_b.sum().clamp(min=1))[mine]
        benign_beta = self.beta_kl if self.args.benign_beta_kl is None else self.args.benign_beta_kl
        betas = torch.tensor([benign_beta, self.beta_kl], device=self.args.device)
        part["beta"] = betas[harmful_b[mine].long()]
        part["learned"] = list(range(size))
        if self.args.skip_zero_advantage:
            kept = [not is_harmful for is_harmful in harmful]
            useful, fillers = learned_rows(part["advantages"].tolist(), kept, self.args.gradient_accumulation_steps)
            part["learned"] = useful + fillers  # every rank has as many micro-batches, and each of them a row
            part["weight"][fillers] = 0.0
        self._step_record.start(part, anchors, self.baselines.harmful.value, rollouts["rollout_s"])
        return part

    def _micro_batches(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        names = ("advantages", "weight", "beta", "completion_mask", "sampler_logp")
        values = {name: part[name] for name in names if name in part}
        size, device = self.args.per_device_train_batch_size, self.args.device
        texts = (part["learn_ids"], part["completions"])
        n_micro = self.args.gradient_accumulation_steps
        return micro_batches(*texts, values, size, self.args.share_prefix, device, part["learned"], n_micro)

    # 3. The loss of a micro-batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        args, packed, mask_bt = self.args, inputs["packed"], inputs["completion_mask"]
        ref_hidden_nh, ref_weight_vh = self._reference(inputs.get("ref_packed", packed))
        with self.accelerator.autocast():
            scores: TokenScores = model(
                packed=packed,
                temperature=self.score_temperature,
                ref_hidden_nh=ref_hidden_nh,
                ref_weight_vh=ref_weight_vh,
                exact_kl=args.kl == "exact",
                kl_direction=args.kl_direction,
            )
        logp_bt, entropy_bt = (packed.to_bt(value_n, mask_bt.shape[1]) for value_n in (scores.logp_n, scores.entropy_n))
        kl_bt, penalty_bt = self._kl_terms(inputs, scores, logp_bt)
        importance_bt = None
        if args.importance_cap is not None:
            mismatch = truncated_weights(logp_bt, inputs["sampler_logp"], mask_bt, args.importance_cap)
            importance_bt = mismatch.weight_bt
            self._note(
                inputs,
                capped_tok=mismatch.capped_bt.sum(1),
                unweighted_tok=mismatch.missing_bt.sum(1),
                sampler_gap_sum_nats=mismatch.gap_bt.sum(1),
            )
        of_rows = (inputs["advantages"], inputs["weight"], kl_bt, inputs["beta"])
        loss = cada_loss(logp_bt, mask_bt, *of_rows, args.logp, penalty_bt, importance_bt, args.first_tok_weight)
        self._note(inputs, logp_nats=logp_bt.sum(1), entropy_sum_nats=entropy_bt.sum(1))
        self._step_record.add_loss(loss)
        # Ranks average their gradients, and weight_b already divides by the rollouts of all of them.
        return loss * self.accelerator.num_processes

    def _note(self, inputs: dict[str, Any], **values_b: Tensor) -> None:
        """Record what is learned from: not rows of weight 0, which have no verdict or fill a micro-batch."""
        learned_b = inputs["weight"] > 0
        rows = [row for row, is_learned in zip(inputs["rows"], learned_b.tolist(), strict=True) if is_learned]
        self._step_record.add(rows, **{name: value_b[learned_b] for name, value_b in values_b.items()})

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
        cost_b = (k1_all_bt if kl_bt is None else kl_bt).sum(1)
        sums_b = {"kl_nats": cost_b, "kl_k1_nats": k1_all_bt.sum(1), "kl_k3_nats": k3_all_bt.sum(1)}
        self._note(inputs, **sums_b)
        return kl_bt, penalty_bt

    # 4. After the optimiser's step: the record, the state of a checkpoint

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One record per optimiser step (logging_steps=1) instead of TRL's tables."""
        if "grad_norm" not in logs:
            return
        metrics, rows = self._recorded_step()
        metrics |= {
            "train/beta_kl": self.beta_kl,
            "train/grad_norm": float(logs["grad_norm"]),
            "train/lr": float(logs["learning_rate"]),
            "train/epoch": float(logs.get("epoch", self.state.epoch or 0.0)),
        }
        self.beta_kl = steered_beta(self.beta_kl, metrics["train/kl_nats"], self.args.target_kl_nats)
        self.state.log_history.append({"step": self.state.global_step, **metrics})
        self._record(self.state.global_step, metrics, rows)

    def stop_here(self) -> int:
        """Only where the next rollouts would be sampled: a checkpoint between would lose those that are left."""
        step, block = self.state.global_step, self.args.steps_per_rollout
        return super().stop_here() if step % block == 0 else min(step + block - step % block, self.state.max_steps)

    def _save_state(self, checkpoint: Path) -> None:
        state = self.baselines.state() | {"beta_kl": self.beta_kl}
        (checkpoint / STATE_FILE).write_text(json.dumps(state))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text())
            self.baselines.load(state)
            self.beta_kl = state["beta_kl"]


def build(run: Run, record: Record, trainer_class: type[CADATrainer] = CADATrainer) -> CADATrainer:
    """CADA's trainer of a run, or one that is built as it is. Errors: UserError for a batch that no requests fill."""
    config, data = run.config, run.data
    args = cada_arguments(config, run.folder.checkpoints, len(data.train))
    rows = rollout_dataset(config, data.train, data.benign_train, run.pack)
    sampler = step_sampler(config, data.train, data.benign_train, args.gradient_accumulation_steps)
    return run.built(trainer_class, args, rows, sampler, record, score=run.score)
