"""Runs of CADATrainer (and of stock GRPO) on rollouts that are a function of prompt, step and place in the group."""

import hashlib
import math
from collections import Counter
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer

from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.training.cada import CADATrainer
from cada_trl.training.cada_config import CADAConfig
from cada_trl.training.requests import RolloutSampler

from .tiny import EOT, tiny_tokenizer

MAX_TOK = 6
UNSCORED_WORD = "w50"
CPU_RUN = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "logging_steps": 1,
    "save_strategy": "no",
    "temperature": 0.7,
    "max_completion_length": MAX_TOK,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 1e9,
    "seed": 5,
}


def request_rows(n, learn="short", n_harmless=0):
    """n requests, the last n_harmless of them harmless; the rollout prompt has a long common prefix."""
    rows = []
    for i in range(n):
        user = {"role": "user", "content": f"w{i} w{i + 1}"}
        prompt = [{"role": "system", "content": "w30 w31 w32 w33 w34"}, user]
        learn_prompt = [user] if learn == "short" else prompt
        harmful = i < n - n_harmless
        rows.append({"prompt": prompt, "learn_prompt": learn_prompt, "request_id": f"r{i}", "harmful": harmful})
    return Dataset.from_list(rows)


def preset_completion(prompt, step, place):
    """One to MAX_TOK tokens drawn from a hash; shorter ones end with <eot>, the longest are cut off."""
    digest = hashlib.sha256(repr((prompt, step, place)).encode()).digest()
    length = 1 + digest[0] % MAX_TOK
    ids = [7 + byte % 50 for byte in digest[1 : 1 + length]]
    return ids if length == MAX_TOK else [*ids, EOT]


class PresetRollouts:
    """Mixed into a trainer, it stands for the sampling."""

    state: Any

    def _generate_single_turn(self, prompt_ids, *_, **__):
        seen = Counter()
        completions = []
        for prompt in prompt_ids:
            completions.append(preset_completion(prompt, self.state.global_step, seen[tuple(prompt)]))
            seen[tuple(prompt)] += 1
        return completions, None


class PresetCADATrainer(PresetRollouts, CADATrainer):
    """CADATrainer without sampling."""


def reward_of_text(text):
    """-1, 0 or 1 by the sum of the words' numbers; NaN where the unscored word comes."""
    words = text.split()
    if UNSCORED_WORD in words:
        return math.nan
    return float(sum(int(word[1:]) for word in words if word.startswith("w")) % 3 - 1)


def score(rows, texts, truncated):
    """A judge that counts."""
    scored = []
    for text, cut in zip(texts, truncated, strict=True):
        reward = reward_of_text(text)
        verdict = Verdict.UNSCORED if math.isnan(reward) else Verdict.COMPLIED if reward < 0 else Verdict.REFUSED
        scored.append(ScoredCompletion(text, split_reasoning(text, cut), verdict, reward))
    return scored


def score_all(rows, texts, truncated):
    """The same judge, answering always: an unscored word counts as 0."""
    scored = score(rows, texts, truncated)
    return [
        ScoredCompletion(one.completion, one.reasoning, Verdict.REFUSED, 0.0) if math.isnan(one.reward) else one
        for one in scored
    ]


def load(folder):
    """The tiny policy from its folder, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def sgd(model, lr):
    """Plain SGD at a constant rate: a constant factor of the loss is the same factor of the rate."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def cada_trainer(
    folder,
    output,
    n_requests=4,
    n_harmless=0,
    benign_per_step=0,
    twin_of=None,
    micro=(8, 1),
    trainer_class=PresetCADATrainer,
    scorer=score_all,
    sgd_lr=0.02,
    peft_config=None,
    callbacks=None,
    **changes,
):
    """A trainer whose steps take rows micro[0] x micro[1] a process; the list fills with what it records.

    Without benign_per_step the sampler takes all requests for harmful ones.
    """
    model = load(folder)
    values = {
        "per_device_train_batch_size": micro[0],
        "gradient_accumulation_steps": micro[1],
        "max_steps": 3,
        "rollouts_per_request": 2,
        "baseline": "group",
        "beta_kl": 0.3,
        **changes,
    }
    args = CADAConfig(output_dir=str(output), **{**CPU_RUN, **values})
    n_benign = n_harmless if benign_per_step else 0
    sampler = RolloutSampler(
        n_requests - n_benign,
        n_benign,
        args.world_size * micro[0] * micro[1] // args.rollouts_per_request,
        benign_per_step,
        args.rollouts_per_request,
        args.gradient_accumulation_steps,
        args.seed,
        twin_of or {},
        args.steps_per_rollout,
        args.world_size,
    )
    records = []
    trainer = trainer_class(
        model=model,
        args=args,
        train_dataset=request_rows(n_requests, n_harmless=n_harmless),
        processing_class=tiny_tokenizer(),
        sampler=sampler,
        score=scorer,
        record=lambda step, metrics, rows: records.append((step, metrics, rows)),
        callbacks=callbacks,
        peft_config=peft_config,
        optimizers=(None, None) if sgd_lr is None or peft_config is not None else sgd(model, sgd_lr),
    )
    return trainer, records


def trained_state(folder, output, **changes):
    """What cada_trainer ends with, trained: weights, mean, beta; loss and requests of each step."""
    trainer, records = cada_trainer(folder, output, **changes)
    trainer.train()
    return {
        "weights": weights(trainer.model),
        "mean": trainer.baselines.harmful.value,
        "beta": trainer.beta_kl,
        "loss": [metrics["train/loss"] for _, metrics, _ in records],
        "requests": [[row["request_id"] for row in rows] for _, _, rows in records],
    }


def rows_of(records):
    """The completions of all steps."""
    return [row for _, _, rows in records for row in rows]


def weights(model):
    """A copy of all parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def distance(one, other):
    """The largest absolute difference of any parameter."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


class _StockTrainer(PresetRollouts, GRPOTrainer):
    """Stock GRPO without sampling."""


def stock_trainer(folder, output, rewards, sgd_lr=0.02, **changes):
    """Set as the README says of stock GRPO: group-centred REINFORCE with a KL term in the loss."""
    model = load(folder)
    values = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_generations": 2,
        "max_steps": 3,
        "beta": 0.3,
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        **changes,
    }
    return _StockTrainer(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(output_dir=str(output), **{**CPU_RUN, **values}),
        train_dataset=request_rows(4),
        processing_class=tiny_tokenizer(),
        optimizers=sgd(model, sgd_lr),
    )
