"""What memory and operations are counted from: the shape of a Llama-like decoder and the lengths of its sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cada_trl.config import Config, ModelConfig
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.arms import of_each_hazard
from cada_trl.storage.files import read_json

CHAT_TOK = 20  # ours: system turn and the ends of the user's turn in SmolLM2's template; Llama 3's has fewer
CHARS_A_TOK = 4  # ours: a rule of thumb for English


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
    """The shape of a model of hydra_conf/model, or of one whose config.json is on this machine.

    Errors: UserError where neither is so, or where the config.json describes no Llama-like decoder.
    """
    table = yaml.safe_load(files("cada_trl.planning").joinpath("assets/shapes.yaml").read_text(encoding="utf-8"))
    if model.source != "folder" and model.name in table:
        return Shape(**table[model.name])
    file = _config_file(model)
    if file is None:
        raise UserError(f"the shape of {model.path} is not known here; fetch its config.json, or plan without it")
    try:
        return read_shape(read_json(file, "fetch it again"))
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


def _config_file(model: ModelConfig) -> Path | None:
    if model.source == "folder":
        file = Path(model.path).expanduser() / "config.json"
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.path, "config.json", revision=model.revision)
    return Path(cached) if isinstance(cached, str) else None


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
    return min(lengths.learn_prompt_tok, config.data.max_prompt_tok + CHAT_TOK)


def prompts(config: Config, request: str) -> list[list[dict[str, str]]]:
    """The chat that the prompt arm makes of a request, for each hazard that may be hinted at."""
    return of_each_hazard(request, config.prompt, load_pack(config.hazards))
