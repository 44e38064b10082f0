"""The shape of a Llama-like decoder and the lengths of its sequences; how long a step of these operations takes.

The time is estimated with a stated efficiency; nothing here is measured on a GPU.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.config import Config, ModelConfig
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.planning.device import ASSETS, accelerator_of, n_machines
from cada_trl.prompting.arms import of_each_hazard
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import read_yaml

CHAT_TOK = 20  # ours: system turn and the ends of the user's turn in SmolLM2's template; Llama 3's has fewer
CHARS_A_TOK = 4  # ours: a rule of thumb for English
# Shares of the card's peak, ours: what well-run training and decoding of 8B models reach; yours will differ.
LEARN_EFFICIENCY = 0.35
PREFILL_EFFICIENCY = 0.4
BANDWIDTH_EFFICIENCY = 0.6
TRANSFORMERS_TOKEN_S = 0.03  # ours: what generate() spends on launching the kernels of one token
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # of config.json: Qwen, Mixtral, DeepSeek
CPU_THREAD_TFLOPS = 0.065  # measured: an update of 8 rollouts of SmolLM2 in float32 (docs/running.md)


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with gated MLPs and grouped queries. tied: the head is the embedding. more: parameters of a
    layer beside its matrices and norms: Qwen2's biases of queries, keys and values, or Qwen3's norms of the heads."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    tied: bool
    more: int = 0

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def embedding_params(self) -> int:
        """Parameters of the embedding, and of the head where it is one of its own."""
        return self.vocab * self.hidden

    @property
    def n_params(self) -> int:
        """All parameters."""
        attention = self.hidden * (2 * self.query + 2 * self.key)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden + self.more
        return self.layers * layer + self.hidden + self.embedding_params * (1 if self.tied else 2)

    @property
    def matmul_params(self) -> int:
        """Parameters that a token is multiplied with: all but an embedding of its own."""
        return self.n_params - (0 if self.tied else self.embedding_params)

    def lora_params(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer (target_modules=all-linear leaves the head out)."""
        ends = [(self.hidden, self.query), (self.hidden, self.key), (self.hidden, self.key), (self.query, self.hidden)]
        ends += [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]
        return self.layers * rank * sum(sum(pair) for pair in ends)


def shape_of(model: ModelConfig) -> Shape:
    """Of a model of hydra_conf/model, or whose config.json is on this machine. Errors: UserError where neither is so,
    or where that describes no Llama-like decoder, such as a mixture of experts."""
    table = read_yaml(ASSETS / "shapes.yaml")
    if model.source != "folder" and model.name in table:
        return Shape(**table[model.name])
    if model.source == "folder":
        file = Path(model.path).expanduser() / "config.json"
    else:
        from huggingface_hub import try_to_load_from_cache

        file = Path(str(try_to_load_from_cache(model.path, "config.json", revision=model.revision)))
    if not file.is_file():
        place = f"{model.path}/config.json" if model.source == "folder" else "its config.json in the hub's cache"
        raise UserError(f"the shape of {model.path} is not known here; expected {place}")
    config = read_json(file, "fetch it again")
    if any(config.get(key) for key in EXPERTS):
        raise UserError(f"{file}: no plan of a mixture of experts; train runs it without one")
    try:
        return read_shape(config)
    except KeyError as error:
        raise UserError(f"{file} does not say the shape of a Llama-like model; missing or damaged: {error}") from error


def read_shape(config: dict[str, Any]) -> Shape:
    """The shape in a Hugging Face config.json. Errors: KeyError for a size that it does not name."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads, head_dim = config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads
    more = {"qwen2": (heads + 2 * kv_heads) * head_dim, "qwen3": 2 * head_dim}
    return Shape(
        vocab=config["vocab_size"],
        hidden=hidden,
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=config["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        more=more.get(config.get("model_type", ""), 0),
    )


@dataclass(frozen=True)
class Lengths:
    """Tokens of one rollout: the prompt that is sampled on, the prompt that is learned on, the completion."""

    rollout_prompt_tok: int
    learn_prompt_tok: int
    completion_tok: int


def longest(config: Config) -> Lengths:
    """The longest that the run allows: a request of max_prompt_tok in the longest hazard's prompt, and max_new_tok."""
    raw = config.data.max_prompt_tok + CHAT_TOK
    n_around = max(sum(len(message["content"]) for message in chat) for chat in prompts(config, ""))
    rollout = raw + math.ceil(n_around / CHARS_A_TOK)
    learn = raw if config.algo.learn_on == "request" else rollout
    return Lengths(rollout, learn, config.rollout.max_new_tok)


def anchor_tok(config: Config, lengths: Lengths) -> int:
    return min(config.algo.benign_tok or lengths.completion_tok, lengths.completion_tok)


def anchor_prompt_tok(config: Config, lengths: Lengths) -> int:
    """Of the prompt that an anchor is sampled on: the raw request, where harmless ones are given so."""
    if config.algo.benign_arm == "same":
        return lengths.rollout_prompt_tok
    return raw_prompt_tok(config, lengths)


def raw_prompt_tok(config: Config, lengths: Lengths) -> int:
    """Of a request without cases."""
    return min(lengths.learn_prompt_tok, config.data.max_prompt_tok + CHAT_TOK)


def prompts(config: Config, request: str) -> list[list[dict[str, str]]]:
    """The chat that the prompt arm makes of a request, for each hazard that may be hinted at."""
    return of_each_hazard(request, config.prompt, load_pack(config.hazards))


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimiser step, both parts estimated at the longest sequences that the run allows."""

    rollouts_s: float
    update_s: float

    @property
    def step_s(self) -> float:
        return self.rollouts_s + self.update_s


def update_tflop(config: Config, shape: Shape, lengths: Lengths) -> float:
    """Matrix operations (10^12) of one step's update over all rollouts.

    Per token and weight: 2 forward, 2 for the activations' gradients, 2 for the weights' (not with LoRA), 2 more
    forward with checkpointing, 2 for the reference.
    """
    algo = config.algo
    per_weight = 4 if config.peft.adapter == "lora" else 6
    per_weight += 2 * config.hardware.gradient_checkpointing
    per_weight += 2 * algo.has_kl
    of_anchor_tok = min(lengths.learn_prompt_tok, anchor_prompt_tok(config, lengths))
    n_tok = _n_tok(config, lengths, lengths.learn_prompt_tok, of_anchor_tok)
    return per_weight * shape.matmul_params * n_tok / 1e12


def rollout_tflop(config: Config, shape: Shape, lengths: Lengths) -> float:
    """Matrix operations (10^12) of one step's sampling, every prompt run in full."""
    n_tok = _n_tok(config, lengths, lengths.rollout_prompt_tok, anchor_prompt_tok(config, lengths))
    return 2 * shape.matmul_params * n_tok / 1e12


def estimate_step(config: Config, shape: Shape) -> StepTime | None:
    """Seconds of a step; None for a GPU that the hardware does not name."""
    lengths, hardware = longest(config), config.hardware
    if hardware.device == "cpu":
        n_cores = hardware.threads * hardware.n_processes or (os.cpu_count() or 1) * n_machines(hardware)
        tflops = CPU_THREAD_TFLOPS * n_cores
        parts = rollout_tflop(config, shape, lengths), update_tflop(config, shape, lengths)
        return StepTime(*(part / tflops for part in parts))
    card = accelerator_of(hardware)
    if card is None:
        return None
    tflops = card.tflops * hardware.n_processes
    weights_gb = shape.matmul_params * 2 / 1e9
    token_s = weights_gb / (card.bandwidth_gb_s * BANDWIDTH_EFFICIENCY)
    if config.rollout.backend == "transformers":
        token_s = max(token_s, TRANSFORMERS_TOKEN_S)
    sampling_s = rollout_tflop(config, shape, lengths) / (tflops * PREFILL_EFFICIENCY)
    update_s = update_tflop(config, shape, lengths) / (tflops * LEARN_EFFICIENCY)
    # Anchors are decoded after the others, and the rollouts of several steps side by side.
    n_decoded = lengths.completion_tok + (anchor_tok(config, lengths) if config.algo.anchors_per_step else 0)
    return StepTime(sampling_s + n_decoded * token_s / config.algo.steps_per_rollout, update_s)


def _n_tok(config: Config, lengths: Lengths, prompt_tok: int, of_anchor_tok: int) -> int:
    """Tokens of a step's rollouts after prompts of prompt_tok, of anchors of of_anchor_tok."""
    algo = config.algo
    whole = algo.judged_per_step * (prompt_tok + lengths.completion_tok)
    anchors = algo.anchors_per_step * (of_anchor_tok + anchor_tok(config, lengths))
    return whole + anchors + algo.first_toks_per_step * (prompt_tok + 1)
