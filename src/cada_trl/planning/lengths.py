"""How long a run's sequences can get, in tokens, from its configuration alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cada_trl.config import Config
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.arms import render

CHAT_TOK = 20  # ours: system turn and the ends of the user's turn in SmolLM2's template; Llama 3's has fewer
CHARS_A_TOK = 4  # ours: a rule of thumb for English


@dataclass(frozen=True)
class Lengths:
    """Tokens of one rollout: the prompt that is sampled on, the prompt that is learned on, the completion."""

    rollout_prompt_tok: int
    learn_prompt_tok: int
    completion_tok: int


def longest(config: Config) -> Lengths:
    """The longest that the run allows: a request of max_prompt_tok in the longest hazard's prompt, and max_new_tok."""
    raw = config.data.max_prompt_tok + CHAT_TOK
    rollout = raw + _around_request_tok(config)
    learn = raw if config.algo.learn_on == "request" else rollout
    return Lengths(rollout, learn, config.rollout.max_new_tok)


def anchor_tok(config: Config, lengths: Lengths) -> int:
    """Tokens of an anchor's completion."""
    return min(config.algo.benign_tok or lengths.completion_tok, lengths.completion_tok)


def anchor_prompt_tok(config: Config, lengths: Lengths) -> int:
    """Of the prompt that an anchor is sampled on: the raw request, where harmless ones are given so."""
    if config.algo.benign_arm == "same":
        return lengths.rollout_prompt_tok
    return min(lengths.learn_prompt_tok, config.data.max_prompt_tok + CHAT_TOK)


def _around_request_tok(config: Config) -> int:
    """Tokens that the prompt arm puts around a request, about."""
    prompt, pack = config.prompt, load_pack(config.hazards)
    hazards = [*pack.hazards] if prompt.hint else [None]
    chats = [render(prompt.arm, "", hazard, pack, prompt.cases_as, prompt.n_cases) for hazard in hazards]
    return math.ceil(max(sum(len(message["content"]) for message in chat) for chat in chats) / CHARS_A_TOK)
