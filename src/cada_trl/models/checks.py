"""What a tokenizer and its chat template must do for training: checked by rendering, before a GPU hour is spent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.storage.digest import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION, ANSWER = "How far is the Moon?", "About 384,400 km."
USER = [{"role": "user", "content": QUESTION}]
CHAT = [*USER, {"role": "assistant", "content": ANSWER}]
REASONING_TAG = re.compile(r"</?(?:think|thinking|thought|reason|reasoning|reflection|analysis)>|\[/?THINK\]", re.I)


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """First 8 hex digits of the SHA-256 of the chat template: two runs with another one are not comparable."""
    return sha256(str(tokenizer.get_chat_template()))[:8]


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> list[str]:
    """Render small chats and say what was found, a sentence a fact.

    Errors: UserError for eos or pad that differ from the config's, more than one BOS, no eos after an assistant turn,
    an eos that is kept when special tokens are skipped (the judge would read it), and a generation prompt that prefills
    a reasoning tag.
    """
    return [
        f"chat template {template_hash(tokenizer)}",
        _check_pad(tokenizer, model),
        *_check_bos(tokenizer, model),
        _check_end_of_turn(tokenizer, model),
        _check_generation_prompt(tokenizer, model),
    ]


def check_keeps_reasoning(tokenizer: PreTrainedTokenizerBase) -> None:
    """Errors: UserError for a template that leaves <think> out of an answer: what is learned would have none."""
    answer = {"role": "assistant", "content": f"<think>\n{QUESTION}\n</think>\n\n{ANSWER}"}
    if "<think>" not in render(tokenizer, [*USER, answer]):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} leaves <think> out of the answers that DPO compares; "
            "take another method, such as algo=cada, or repair the template"
        )


def render(tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]], tokenize: bool = False, **how: Any) -> Any:
    """The chat by the tokenizer's template, as text or tokens. Errors: UserError where the template fails on it."""
    try:
        return tokenizer.apply_chat_template(chat, tokenize=tokenize, **how)
    except Exception as error:  # a template is a program: it can raise anything
        said = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} fails on {', '.join(turn['role'] for turn in chat)} "
            f"({type(error).__name__}: {said}); repair its chat_template.jinja, or chat_template in "
            "tokenizer_config.json"
        ) from error


def _after(content: str, text: str) -> str:
    return text.rpartition(content)[2]


def _check_pad(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> str:
    vocabulary = tokenizer.get_vocab()
    for role, wanted in (("eos", model.eos), ("pad", model.pad)):
        seen = getattr(tokenizer, f"{role}_token")
        if seen != wanted or wanted not in vocabulary:
            raise UserError(f"{role} token is {seen!r}, expected model.{role}={wanted!r} from the vocabulary")
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        return (
            f"pad equals eos ({model.eos}, id {tokenizer.eos_token_id}): masks come from lengths, never from token ids"
        )
    return f"pad {model.pad} (id {tokenizer.pad_token_id}) differs from eos {model.eos} (id {tokenizer.eos_token_id})"


def _check_bos(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> list[str]:
    """Count the BOS tokens that lead a rendered chat; further on a BOS may be a turn marker (SmolLM2)."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ["no BOS token"]
    rendered = render(tokenizer, USER, tokenize=True, return_dict=False)
    n_rendered = _n_leading(rendered, bos)
    n_tokenised_again = _n_leading(tokenizer(render(tokenizer, USER))["input_ids"], bos)
    if n_rendered > 1:
        raise UserError(f"the chat template of {model.path} writes {n_rendered} BOS tokens; expected one: repair it")
    facts = [f"{n_rendered} BOS at the start of a rendered chat"]
    if n_tokenised_again > n_rendered:
        facts.append("tokenising a rendered chat adds a BOS: pass add_special_tokens=False there")
    return facts


def _n_leading(ids: list[int], token: int) -> int:
    return next((position for position, seen in enumerate(ids) if seen != token), len(ids))


def _check_end_of_turn(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> str:
    """The model learns to stop only if the template ends an assistant turn with the eos."""
    tail = _after(ANSWER, render(tokenizer, CHAT))
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    if tokenizer.eos_token_id not in ids:
        raise UserError(
            f"the chat template of {model.path} ends an assistant turn with {tail!r}; expected model.eos={model.eos}"
        )
    kept = tokenizer.decode([tokenizer.eos_token_id], skip_special_tokens=True)
    if kept:
        raise UserError(f"{model.eos} is no special token of {model.path}: decoding keeps {kept!r}; mark it as special")
    return f"an assistant turn ends with {tail!r}"


def _check_generation_prompt(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> str:
    turn_end = _after(QUESTION, render(tokenizer, USER))
    added = _after(QUESTION, render(tokenizer, USER, add_generation_prompt=True)).removeprefix(turn_end)
    if not added:
        raise UserError(
            f"the chat template of {model.path} adds no generation prompt; expected the start of an assistant turn "
            "where add_generation_prompt is set: add it to the template"
        )
    if tag := REASONING_TAG.search(added):
        raise UserError(
            f"the chat template of {model.path} prefills {tag[0]} in the generation prompt {added!r}; reasoning would "
            "begin outside the completion: use a template without it"
        )
    return f"the generation prompt is {added!r}"
