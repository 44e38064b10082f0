"""The tokenizer, its template and the reward: what has to be right before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config
from cada_trl.diagnosis.finding import Finding
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.judge import Judge, check_pays_reward, make_judge
from cada_trl.models.checks import QUESTION, check_tokenizer
from cada_trl.prompting.arms import render
from cada_trl.prompting.reasoning import ANALYSIS_HEADER, RESPONSE_HEADER, split_reasoning
from cada_trl.reward import score_completions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

N_SHOWN = 5  # token ids at each end of the rendered prompt
REFUSAL = "I'm sorry, but I can't help with that."
REASONED = f"{ANALYSIS_HEADER}\nThe policy forbids this.\n{RESPONSE_HEADER}\n{REFUSAL}"
ANSWER = f"Sure, here is the answer. {QUESTION} It is about 384,400 km."


def check_model(config: Config) -> Iterator[Finding]:
    """Tokenizer facts, the rendered prompt, and whether a well-formed completion is paid.

    Errors: UserError for a model that cannot be reached and a tokenizer that does not do.
    """
    from cada_trl.models.load import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    for fact in check_tokenizer(tokenizer, config.model):
        yield Finding("tokenizer", "ok", fact)
    yield from _prompt(config, tokenizer)
    yield _parser(tokenizer)


def _prompt(config: Config, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """The longest hazard's prompt around a short question, and whether the longest request still fits."""
    pack, prompt = load_pack(config.hazards), config.prompt
    hazards: list[str | None] = [*pack.hazards] if prompt.hint else [None]
    chats = [render(prompt.arm, QUESTION, hazard, pack, prompt.cases_as, prompt.n_cases) for hazard in hazards]
    rendered = [_ids(tokenizer, chat) for chat in chats]
    ids = max(rendered, key=len)
    shown = f"{', '.join(map(str, ids[:N_SHOWN]))}, ..., {', '.join(map(str, ids[-N_SHOWN:]))}"
    yield Finding(
        "prompt",
        "ok",
        f"arm {prompt.arm}, longest of {len(chats)} hazards {len(ids)} tokens [{shown}], "
        f"begins {tokenizer.decode(ids[:N_SHOWN])!r} and ends {tokenizer.decode(ids[-N_SHOWN:])!r}",
    )
    longest = len(ids) + config.data.max_prompt_tok + config.rollout.max_new_tok
    room = config.model.context_tok
    if longest > room:
        todo = "lower max_prompt_tok, max_new_tok or n_cases"
        yield Finding("context", "failed", f"up to {longest} tokens with prompt and completion, {room} there", todo)
    else:
        yield Finding("context", "ok", f"up to {longest} tokens with prompt and completion of {room}")


def _ids(tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]]) -> list[int]:
    ids: Any = tokenizer.apply_chat_template(chat, tokenize=True, add_generation_prompt=True, return_dict=False)
    return [int(token) for token in ids]


def _parser(tokenizer: PreTrainedTokenizerBase) -> Finding:
    """A completion as the sampler returns it: token ids with their end, decoded without special tokens."""
    ids = [*tokenizer(REASONED, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    split = split_reasoning(text)
    if split.reasoned and split.final_response == REFUSAL:
        return Finding("parser", "ok", "analysis and final response come back from token ids")
    return Finding("parser", "failed", f"{text!r} splits into {split}", "the tokenizer changes the headers: no reward")


def check_reward(config: Config) -> Iterator[Finding]:
    """Whether the judge can be reached and the reward is paid as the table says.

    A judge whose weights are read in this process is only looked for: reading them takes minutes.
    Errors: UserError for a judge that cannot pay, is not set up or does not answer.
    """
    check_pays_reward(config.judge)
    judge = make_judge(config.judge)
    reach = getattr(judge, "check_reachable", None)
    if reach is not None:
        reach()
        yield Finding("judge", "ok", f"{judge.id} is reachable")
    else:
        yield Finding("judge", "ok", f"{judge.id} needs no endpoint")
    if reach is None or config.judge.base_url:
        yield _paid(config, judge)


def _paid(config: Config, judge: Judge) -> Finding:
    table, texts = config.reward, [REASONED, REFUSAL, ANSWER]
    n = len(texts)
    scored = score_completions([QUESTION] * n, texts, [False] * n, [True] * n, judge, table)
    seen = [one.reward for one in scored]
    wanted = [table.reasoned_refusal, table.direct_refusal, table.complied]
    text = "reasoned refusal, bare refusal and answer to a harmful request are paid "
    if seen == wanted:
        return Finding("reward", "ok", text + ", ".join(f"{value:g}" for value in seen))
    todo = f"expected {', '.join(f'{value:g}' for value in wanted)}: this judge does not read them as people do"
    return Finding("reward", "failed", text + ", ".join(f"{value:g}" for value in seen), todo)
