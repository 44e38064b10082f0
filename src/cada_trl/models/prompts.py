"""Chats to token ids, and the tokens that end an answer: one encoder for probes, evaluation and chat. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.hazards.pack import PACK_FILE, HazardPack
from cada_trl.models.checks import render
from cada_trl.models.load import all_ends, resolve_model
from cada_trl.prompting.arms import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN_CHARACTERS = 60
_CUT = "\ufdd0\ufdd1"  # no text holds these: Unicode keeps them for the inside of a program


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What only a chat template may write: <|im_end|> and its like."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def check_pack(pack: HazardPack, tokenizer: PreTrainedTokenizerBase) -> None:
    """Errors: UserError for a text that spells a control token: TRL tokenises what is sampled on, where it would end a
    turn."""
    texts = {f"hazard '{one.id}'": asdict(one) for one in pack.hazards.values()}
    for place, held in {**texts, PACK_FILE: asdict(replace(pack, hazards={}))}.items():
        written = json.dumps(held, ensure_ascii=False)
        if token := next((token for token in control_tokens(tokenizer) if token in written), None):
            raise UserError(f"{place} of the case pack holds {token!r}, a control token of the model; take it out")


def as_data(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text cut inside each control token that it spells, for ids_of: what people write ends no turn."""
    spelt = "|".join(map(re.escape, control_tokens(tokenizer)))
    return re.sub(f"(?={spelt})(.)", rf"\1{_CUT}", text, flags=re.DOTALL) if spelt else text


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str, add_special_tokens: bool = False) -> list[int]:
    """Token ids of a text that holds as_data's cuts. add_special_tokens: those that begin it."""
    first, *others = text.split(_CUT)
    ids: list[int] = list(tokenizer(first, add_special_tokens=add_special_tokens)["input_ids"])
    for part in others:
        ids += tokenizer(part, add_special_tokens=False)["input_ids"]
    return ids


def chat_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """The chat with the generation prompt, by the chat template; what the last message begins of the answer follows.

    A control token in a message is read as plain text.
    """
    data = [{**message, "content": as_data(tokenizer, message["content"])} for message in messages]
    asked = render(tokenizer, _asked(data), add_generation_prompt=True, tokenize=False)
    return ids_of(tokenizer, str(asked)) + ids_of(tokenizer, answer_begun(data))


def request_ids(tokenizer: PreTrainedTokenizerBase, request: str) -> list[int]:
    """The request as the only message of a chat, as chat_ids."""
    return chat_ids(tokenizer, [{"role": "user", "content": request}])


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages], context_tok: int, max_new_tok: int
) -> list[list[int]]:
    """Token ids of each conversation with the generation prompt, in the order given.

    Errors: UserError names the first conversation, and the number of those, that has nothing to answer, starts with
    several BOS tokens or is too long for the context beside max_new_tok.
    """
    _refuse(
        conversations,
        [not _has_a_question(messages) for messages in conversations],
        "end in no user message with text",
        "look at the benchmark or the attack that made it",
    )
    prompts = [chat_ids(tokenizer, messages) for messages in conversations]
    _refuse(
        conversations,
        [tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2 for ids in prompts],
        "start with more than one BOS token",
        "repair the tokenizer's chat template",
    )
    room = context_tok - max_new_tok
    if room < 1:
        raise UserError(
            f"max_new_tok={max_new_tok} leaves no room for a request in context_tok={context_tok}; lower max_new_tok"
        )
    _refuse(
        conversations,
        [len(ids) > room for ids in prompts],
        f"have more than the {room} tokens that context_tok={context_tok} leaves beside max_new_tok={max_new_tok} "
        f"(longest: {max(map(len, prompts), default=0)})",
        "lower max_new_tok or n_cases, or choose another arm or model",
    )
    return prompts


def end_ids(model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer: the config's eos, and what the model itself declares (Llama 3 has two).

    Errors: UserError as all_ends.
    """
    from transformers import AutoConfig, GenerationConfig

    where, revision = resolve_model(model), (model.revision or "main") if model.source == "hub" else "main"
    try:
        declared = GenerationConfig.from_pretrained(where, revision=revision).eos_token_id
    except OSError:  # a model without a generation config says it in its own
        config = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=model.trust_remote_code)
        declared = config.eos_token_id
    return frozenset(all_ends(tokenizer, declared))


def answer_begun(messages: Messages) -> str:
    """The beginning of the answer that the model is to continue; "" where it begins itself."""
    return messages[-1]["content"] if messages and messages[-1]["role"] == "assistant" else ""


def _asked(messages: Messages) -> Messages:
    return messages[:-1] if answer_begun(messages) else messages


def _has_a_question(messages: Messages) -> bool:
    asked = _asked(messages)
    return bool(asked) and asked[-1]["role"] == "user" and bool(asked[-1]["content"].strip())


def _refuse(conversations: Sequence[Messages], wrong: list[bool], what: str, advice: str) -> None:
    if not any(wrong):
        return
    first = wrong.index(True)
    text = conversations[first][-1]["content"] if conversations[first] else ""
    raise UserError(
        f"{sum(wrong)} of {len(wrong)} conversations {what}; the first is number {first + 1} "
        f"({text[:SHOWN_CHARACTERS]!r}): {advice}"
    )
