"""What one of two ranks does under DeepSpeed; started by torchrun with a model folder, an output folder and a stage."""

import sys
from pathlib import Path

import torch
from models.conftest import model_config
from peft import LoraConfig

from cada_trl.config import load_config
from cada_trl.models.load import load_policy
from cada_trl.models.sampling import continued, most_likely
from cada_trl.training.checkpoints import gathered, join_ranks
from cada_trl.training.probes import mean_nll_nats

from .preset_run import MAX_TOK, PresetCADATrainer, cada_trainer, weights
from .tiny import EOT, tiny_tokenizer


class UnevenTrainer(PresetCADATrainer):
    """Half of the requests get completions of one length, the others of several: with shared prefixes the first would
    be scored by two forward calls and the others by one, and the ranks seldom have as many of the first."""

    def _generate_single_turn(self, prompt_ids, *_, **__):
        completions, _none = super()._generate_single_turn(prompt_ids)
        pairs = zip(prompt_ids, completions, strict=True)
        return [(ids + [9] * MAX_TOK)[:MAX_TOK] if sum(prompt) % 4 < 2 else ids for prompt, ids in pairs], None


# AdamW at a rate that moves every weight, and a norm that clips every step.
LEARNING = {
    "trainer_class": UnevenTrainer,
    "kl": "exact",
    "baseline": "running",
    "target_kl_nats": 0.01,
    "sgd_lr": None,
    "learning_rate": 1e-3,
    "max_grad_norm": 0.5,
}
PROMPTS = [[1, 7, 8, 9], [1, 12], [1, 20, 21]]
ANSWERS = [
    {"request": "w1 w2", "token_ids": [9, 10, EOT]},
    {"request": "w3", "token_ids": [11, EOT]},
    {"request": "w4 w5 w6", "token_ids": [12, 13, 14]},
]


def deepspeed(stage):
    """What launch/cpu_zero<stage>.yaml amounts to, except that ZeRO-3 also splits weights as small as these."""
    sizes = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    zero = {"stage": stage, "stage3_param_persistence_threshold": 0, "stage3_gather_16bit_weights_on_model_save": True}
    return {**dict.fromkeys(sizes, "auto"), "zero_optimization": zero}


def decoded(model, rank):
    """Greedy answers to the first rank + 1 prompts, of 2 or 5 tokens: the ranks make different numbers of calls."""
    return sorted(continued(model, PROMPTS[: rank + 1], most_likely, set(), 2 + 3 * rank))


def nll_nats(model, rank):
    """Of all the answers but the first `rank`: again a rank's own number of calls."""
    return mean_nll_nats(model, tiny_tokenizer(), ANSWERS[rank:])


def state(trainer, records):
    """What a trained trainer ends with; every rank must ask."""
    with gathered(trainer.model.parameters()):
        whole = weights(trainer.model)
    return {
        "weights": whole,
        "local": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "mean": trainer.baselines.harmful.value,
        "beta": trainer.beta_kl,
        "grad_norm": [metrics["train/grad_norm"] for _, metrics, _ in records],
        "kl": [metrics["train/kl_nats"] for _, metrics, _ in records],
    }


def full(folder, output, **changes):
    """Three steps of full fine-tuning, a checkpoint at the second, the model saved, decoded and read by each rank."""
    trainer, records = cada_trainer(
        folder, output, save_strategy="steps", save_steps=2, **{"micro": (2, 2), **LEARNING, **changes}
    )
    before = trainer.reference_hash()
    trainer.train()
    rank = trainer.accelerator.process_index
    with trainer.sampling_model() as model:
        answers, nats = decoded(model, rank), nll_nats(model, rank)
    trainer.save_model(str(output / "final"))
    hashes = (before, trainer.reference_hash())
    return {**state(trainer, records), "answers": answers, "nll_nats": nats, "hashes": hashes}


def resumed(folder, output, **changes):
    """The third step alone, from the checkpoint that `full` left."""
    trainer, records = cada_trainer(folder, output, **{"micro": (2, 2), **LEARNING, **changes})
    trainer.train(resume_from_checkpoint=str(output / "checkpoint-2"))
    return state(trainer, records)


def lora(folder, output, **changes):
    """Three steps of an adapter; the reference is the model with the adapter off."""
    adapter = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer, records = cada_trainer(folder, output, peft_config=adapter, **{"micro": (2, 2), **LEARNING, **changes})
    before = trainer.reference_hash()
    trainer.train()
    trainer.save_model(str(output / "final"))
    return {**state(trainer, records), "hashes": (before, trainer.reference_hash())}


def rotary(folder, output, **changes):
    """The rotary tables of a policy and of a reference that are split while they load, in bfloat16."""
    trainer, _ = cada_trainer(folder, output, **{"micro": (2, 2), **LEARNING, **changes})  # from here on they are split
    policy = load_policy(model_config(path=folder, dtype="bfloat16"), tiny_tokenizer())
    reference = trainer.accelerator.unwrap_model(trainer.ref_model)
    return {name: dict(model.named_buffers()) for name, model in (("policy", policy), ("reference", reference))}


if __name__ == "__main__":
    model_folder, output_folder, zero_stage = sys.argv[1:]
    file = f"accelerate_config=launch/cpu_zero{zero_stage}.yaml"
    join_ranks(load_config(["launcher=accelerate", file, "n_processes=2", "micro_batch=4"]).hardware)
    out, under = Path(output_folder), {"deepspeed": deepspeed(int(zero_stage))}
    in_bf16 = {"deepspeed": under["deepspeed"] | {"bf16": {"enabled": "auto"}}, "bf16": True}
    ends = {
        "full": full(model_folder, out / "full", **under),
        "resumed": resumed(model_folder, out / "full", **under),
        "lora": lora(model_folder, out / "lora", **under),
        "lora_bf16": lora(model_folder, out / "lora_bf16", **in_bf16),
        "rotary": rotary(model_folder, out / "rotary", **in_bf16),
    }
    torch.save(ends, out / f"rank{torch.distributed.get_rank()}.pt")
