"""CADA's trainer and stock GRPO's on one preset batch, with random weights of a model's shape, and a clock for both.

The group of eight rollouts is eight different prompts: where real groups repeat a prompt, more is shared than here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cada_trl.config import Config
    from cada_trl.data.prepared import PreparedData

SHAPES: dict[str, dict[str, Any]] = {
    # SmolLM2-135M's config.json
    "smollm2": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
    },
    # for tests
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,  # the least that vLLM's attention on a CPU takes
        "intermediate_size": 64,
        "initializer_range": 0.2,
    },
}
BETA_KL = 0.05
REWARDS = [1.0, 0.0, -1.0, 1.0, 0.0, -1.0, 1.0, 1.0]  # one per rollout, in turn; the group's baseline is their mean
EOS = 2
# Stock GRPO as CADA's objective: group-centred REINFORCE with a KL in the loss.
STOCK: dict[str, Any] = {"beta": BETA_KL, "loss_type": "dr_grpo", "scale_rewards": "none"}
IMPORTANCE_CAP = 3.0  # stock GRPO corrects vLLM's samples by default, with this cap and one more forward pass


@dataclass(frozen=True)
class Work:
    """One trainer on one batch. Lengths are in tokens, one per rollout; prefix_tok of each prompt are common to all."""

    trainer: Literal["cada", "stock"]
    shape: str
    kl: Literal["exact", "k2", "k3"]
    micro_batch: int
    prefix_tok: int
    prompt_tok: list[int]
    completion_tok: list[int]
    n_timed: int
    rollout: Literal["transformers", "vllm"] = "transformers"  # who samples, where the sampling is not preset
    bf16: bool = False  # both trainers' own setting: float32 weights, products in bfloat16


def preset_rollouts(work: Work) -> tuple[list[list[int]], list[list[int]]]:
    """Prompt and completion token ids, equal for both trainers; every completion ends with EOS."""
    import random

    draw, n_vocab = random.Random(0), SHAPES[work.shape]["vocab_size"]

    def tokens(n: int) -> list[int]:
        return [draw.randrange(3, n_vocab) for _ in range(n)]

    prefix = tokens(work.prefix_tok)
    prompts = [prefix + tokens(n - work.prefix_tok) for n in work.prompt_tok]
    return prompts, [[*tokens(n - 1), EOS] for n in work.completion_tok]


class StepClock:
    """Seconds of every step, and of the sampling in it where `around_sampling` is mixed into the trainer.

    now_s: the clock. first_step: entered around the first step, which is not timed.
    """

    def __init__(self, now_s: Callable[[], float], first_step: AbstractContextManager[Any] | None = None) -> None:
        self.now_s, self._first_step = now_s, first_step or nullcontext()
        self.all_step_s: list[float] = []
        self.all_rollout_s: list[float] = []
        self.prompt_tok = self.completion_tok = 0

    @property
    def step_s(self) -> list[float]:
        """Of the timed steps."""
        return self.all_step_s[1:]

    @property
    def rollout_s(self) -> list[float]:
        """The sampling in each of them, with its weight sync."""
        return self.all_rollout_s[1:]

    @property
    def update_s(self) -> list[float]:
        """The rest of each of them."""
        return [step - rollout for step, rollout in zip(self.step_s, self.rollout_s, strict=True)]

    def callback(self) -> Any:
        """For the trainer."""
        from transformers import TrainerCallback

        clock = self

        class Steps(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == 0:
                    clock._first_step.__enter__()
                self.started_s = clock.now_s()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                clock.all_step_s.append(clock.now_s() - self.started_s)
                if state.global_step == 1:
                    clock._first_step.__exit__(None, None, None)

        return Steps()

    def around_sampling(self) -> type:
        """Mixed into a trainer before its class."""
        clock = self

        class Timed:
            def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
                started_s = clock.now_s()
                sampled = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
                clock.all_rollout_s.append(clock.now_s() - started_s)
                clock.prompt_tok, clock.completion_tok = sum(map(len, prompt_ids)), sum(map(len, sampled[0]))
                return sampled

        return Timed


def of_run(config: Config) -> tuple[PreparedData, dict[str, Any]]:
    """A run's requests; its model, data set and tokenizer as both trainers take them."""
    from cada_trl.data.prepared import prepare
    from cada_trl.hazards.pack import load_pack
    from cada_trl.models.load import load_policy, load_tokenizer
    from cada_trl.training.requests import rollout_dataset

    data, tokenizer = prepare(config), load_tokenizer(config.model)
    rows = rollout_dataset(config, data.train, data.benign_train, load_pack(config.hazards))
    policy = load_policy(config.model, tokenizer)
    return data, {"model": policy, "train_dataset": rows, "processing_class": tokenizer}


def build_trainer(work: Work, folder: Path, rollouts: type) -> tuple[Any, Any]:
    """The trainer on the preset prompts, and a function that gives the first step's (loss, grad_norm) after training.

    rollouts: mixed in before the trainer's class, around its sampling or in its place.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from cada_trl.training.cada import CADATrainer
    from cada_trl.training.cada_config import CADAConfig
    from cada_trl.training.requests import RolloutSampler

    prompts = preset_rollouts(work)[0]

    class Preset(rollouts):  # type: ignore[misc, valid-type]
        def _tokenize_prompts(self, _: Any) -> tuple[list[list[int]], None, dict[str, Any]]:
            return prompts, None, {}

    given: dict[str, Any] = {
        "model": _policy(work.shape, folder / "reference"),
        "train_dataset": Dataset.from_list([_row(n) for n in range(2)]),
        "processing_class": _tokenizer(),
    }
    n_rollouts = len(work.prompt_tok)
    shared: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": work.micro_batch,
        "gradient_accumulation_steps": n_rollouts // work.micro_batch,
        "max_steps": 1 + work.n_timed,
        "max_completion_length": max(work.completion_tok),
        "use_cpu": True,
        "bf16": work.bf16,
        "gradient_checkpointing": False,
        "max_grad_norm": 1e9,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "use_vllm": work.rollout == "vllm",
        "vllm_mode": "colocate",
    }
    if work.trainer == "stock":
        args = GRPOConfig(**shared, **STOCK, num_generations=n_rollouts, use_bias_correction_kl=work.kl == "k2")
        stock = type("BenchGRPO", (Preset, GRPOTrainer), {})(**given, args=args, reward_funcs=preset_rewards)
        return stock, lambda: tuple(stock.state.log_history[0][key] for key in ("loss", "grad_norm"))
    cada_args = CADAConfig(
        **shared,
        rollouts_per_request=n_rollouts,
        learn_on="rollout",
        baseline="group",
        beta_kl=BETA_KL,
        kl=work.kl,
        importance_cap=IMPORTANCE_CAP if work.rollout == "vllm" else None,
    )
    n_micro = cada_args.gradient_accumulation_steps
    given |= {"sampler": RolloutSampler(2, 0, 1, 0, n_rollouts, n_micro, cada_args.seed, {}), "score": preset_score}
    steps: list[tuple[dict[str, float], list[dict[str, Any]]]] = []
    cada = type("BenchCADA", (Preset, CADATrainer), {})(
        **given, args=cada_args, record=lambda _, metrics, rows: steps.append((metrics, rows))
    )
    return cada, lambda: (_grpo_loss(steps[0][1]), steps[0][0]["train/grad_norm"])


def _grpo_loss(rows: list[dict[str, Any]]) -> float:
    losses = [BETA_KL * row["kl_k3_nats"] - row["advantage"] * row["completion_tok"] for row in rows]
    return sum(losses) / len(losses)


def preset_score(rows: list[dict[str, Any]], texts: list[str], truncated: list[bool]) -> list[Any]:
    """CADA's score of any texts: the preset rewards, one per rollout in turn."""
    from cada_trl.prompting.reasoning import split_reasoning
    from cada_trl.records import Verdict
    from cada_trl.reward import ScoredCompletion

    return [
        ScoredCompletion(text, split_reasoning(text), Verdict.REFUSED, reward)
        for text, reward in zip(texts, preset_rewards(texts), strict=True)
    ]


def preset_rewards(completions: Sequence[Any], **_: Any) -> list[float]:
    """Stock's reward function: REWARDS over and over, whatever was said."""
    return [REWARDS[number % len(REWARDS)] for number in range(len(completions))]


def _row(number: int) -> dict[str, Any]:
    prompt = [{"role": "user", "content": f"request {number}"}]
    return {"prompt": prompt, "learn_prompt": prompt, "request_id": str(number), "harmful": True}


def _policy(shape: str, folder: Path) -> Any:
    """Random weights; the reference, which TRL loads from the folder, differs a little: the KL has a gradient."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], tie_word_embeddings=True, eos_token_id=EOS, pad_token_id=EOS)
    LlamaForCausalLM(config).save_pretrained(folder)
    policy = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1 * config.initializer_range)
    return policy


def _tokenizer() -> Any:
    """Knows the special tokens only: the ids are preset, and the texts are not looked at."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<bos>": 1, "<eos>": EOS}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()  # the check of a weight sync scores a text: it needs more than one token
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", pad_token="<eos>"
    )
