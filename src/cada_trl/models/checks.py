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

SUPPORTED = "a decoder whose layers all attend, such as a Llama, Qwen3 or Mistral"
# Attention over keys and values that depend on their own places alone: what our decoding and scoring read rows through.
_ATTENDING = {"full_attention", "sliding_attention"}
# Of other attention, or with a state. Ours: tiny random ones were sampled or scored wrongly, or crashed; gpt_neo,
# lfm2_moe and recurrent_gemma were not tried. Those that are not named are found by their logits (own_logits.py), once
# the weights are read.
_OTHERWISE = {"doge", "gpt_neo", "lfm2", "lfm2_moe", "llama4", "llama4_text", "mpt", "openai-gpt", "recurrent_gemma"}
_OTHERWISE |= {"rwkv"}


def check_architecture(config: Any, path: str) -> None:
    """config: transformers', of the model. Errors: UserError for one that keeps a state from token to token, or attends
    in a way of its own: rows that are read side by side would run into each other, and nothing would say so."""
    text = config.get_text_config()
    own = {*(getattr(text, "layer_types", None) or ())} - _ATTENDING
    if own or text.model_type in _OTHERWISE:
        kind = f"layers of {', '.join(sorted(own))}" if own else "attention of its own kind"
        raise UserError(
            f"{path} is a {text.model_type}, with {kind}, which is not supported here; evaluate it with backend=vllm, "
            f"and train {SUPPORTED}"
        )


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """First 8 hex digits of the SHA-256 of the chat template: two runs with another one are not comparable."""
    return sha256(str(tokenizer.get_chat_template()))[:8]


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> list[str]:
    """Render small chats and say what was found, a sentence a fact.

    tokenizer: as load_tokenizer gives it, with the config's eos and pad. Errors: UserError for more than one BOS, no
    eos after an assistant turn, an eos that is kept when special tokens are skipped (the judge would read it), and a
    generation prompt that prefills a reasoning tag.
    """
    return [
        f"chat template {template_hash(tokenizer)}",
        _pad_fact(tokenizer, model),
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


def check_ids(tokenizer: PreTrainedTokenizerBase, path: str, n_rows: int | None) -> None:
    """Errors: UserError for a token that can be asked and is beyond the n_rows of the model's embeddings.

    A control token that the template does not write cannot: published tokenizers name some, for images, without a row.
    """
    chat = render(tokenizer, USER, tokenize=True, return_dict=False, add_generation_prompt=True)
    written = {*chat, tokenizer.eos_token_id, tokenizer.pad_token_id}
    never = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special} - written
    tokens = {number: token for token, number in tokenizer.get_vocab().items() if number not in never}
    last = max(tokens)
    if n_rows is not None and last >= n_rows:
        raise UserError(
            f"the tokenizer of {path} gives {tokens[last]!r} the id {last}, and config.json has vocab_size={n_rows}; "
            "call resize_token_embeddings(len(tokenizer)) and save the model again, or bring both from one model"
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


def _pad_fact(tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> str:
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
