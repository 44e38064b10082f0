"""What answers the questions of judges and attackers: any OpenAI-compatible endpoint, or weights in this process.

The openai client retries 429, 5xx, timeouts and lost connections with growing pauses and obeys Retry-After. The key
stays in its environment variable and is in no error, log or file. The client takes half a second to import, so it is
imported where it is used: a run that asks no endpoint does not wait for it. A guard model's weights are read by
transformers at the first question, not before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.config import JudgeConfig, ModelConfig
from cada_trl.errors import UserError, first_line
from cada_trl.prompting.arms import Messages

if TYPE_CHECKING:
    from openai import APIError, OpenAI

NO_ANSWER = "no answer from the "  # how the reason begins where nobody was there: asked again, the model may answer
N_THREADS = 8  # ours: enough to keep one server busy, few enough for a rate limit
CHECK_RETRIES = 2  # an address that does not answer should say so in seconds, not after the whole backoff
CHECK_TOK = 16
HELLO: Messages = [{"role": "user", "content": "Say hello."}]

_NO_COMPLETION = "the reply is no completion with a text; check that base_url is an OpenAI-compatible address"
_WRONG_SETTING = {401: "the key is refused", 403: "access is denied", 404: "no such model or path"}


@dataclass(frozen=True)
class Text:
    """A prompt that gets no chat template. add_special_tokens: the tokenizer puts its start token before it."""

    text: str
    add_special_tokens: bool


Prompt = Messages | Text


@dataclass(frozen=True)
class Answer:
    """What a model wrote; text None: it gave no answer, for this reason."""

    text: str | None
    reason: str = ""


@dataclass
class Usage:
    """Answered questions and their tokens so far; tokens None: an endpoint left some unsaid."""

    calls: int = 0
    prompt_tok: int | None = 0
    completion_tok: int | None = 0

    def add(self, prompt_tok: int | None, completion_tok: int | None, calls: int = 1) -> None:
        self.calls += calls
        self.prompt_tok = _sum(self.prompt_tok, prompt_tok)
        self.completion_tok = _sum(self.completion_tok, completion_tok)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class ChatEndpoint:
    """A model behind an address; safe from several threads. usage: of all its answers so far."""

    def __init__(self, client: OpenAI, llm: str) -> None:
        self.llm, self.usage = llm, Usage()
        self._client = client
        self._lock = threading.Lock()

    @classmethod
    def from_settings(
        cls, base_url: str, llm: str, api_key_env: str | None, timeout_s: float, max_retries: int
    ) -> ChatEndpoint:
        """api_key_env None: the endpoint wants no key. Errors: UserError when the named variable is not set, or holds
        what no header can carry."""
        from openai import OpenAI

        key = os.environ.get(api_key_env, "") if api_key_env else "not-needed"
        if not key:
            raise UserError(f"environment variable {api_key_env} is not set; export the key of {llm} at {base_url}")
        if not (key.isascii() and key.isprintable() and key == key.strip()):  # the client would blame the address
            raise UserError(
                f"environment variable {api_key_env} is no key: it has a blank at an end, a line break or a character "
                f"that is not printable ASCII; export the key of {llm} at {base_url} without it"
            )
        return cls(OpenAI(base_url=base_url, api_key=key, timeout=timeout_s, max_retries=max_retries), llm)

    @classmethod
    def from_config(cls, config: JudgeConfig) -> ChatEndpoint:
        """That of a judge whose base_url and llm are set. Errors: UserError as from_settings."""
        client = config.api_key_env, config.timeout_s, config.max_retries
        return cls.from_settings(str(config.base_url), str(config.llm), *client)

    def complete(self, messages: Prompt, max_tok: int, temperature: float) -> str:
        """The answer.

        Errors: openai.APIError after the retries, and for a reply that is no completion, as a proxy's HTML page;
        UserError for a refused key or an unknown model (401, 403, 404).
        """
        reply = self._send(self._client, messages, max_tok, temperature)
        text, said = _said(reply, messages), getattr(reply, "usage", None)
        prompt_tok, completion_tok = (
            n_tok if isinstance(n_tok := getattr(said, name, None), int) else None
            for name in ("prompt_tokens", "completion_tokens")
        )
        with self._lock:
            self.usage.add(prompt_tok, completion_tok)
        return text

    def answers(
        self, prompts: Sequence[Prompt], max_tok: int, temperature: float = 0.0, who: str = "endpoint"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the prompt, answer) as they come; a reason names who did not. Errors: as complete()."""
        from openai import APIError

        def answer(prompt: Prompt) -> Answer:
            try:
                return Answer(self.complete(prompt, max_tok, temperature))
            except APIError as error:
                return Answer(None, f"{NO_ANSWER}{who}: {explain(error)}")

        with ThreadPoolExecutor(N_THREADS) as pool:
            futures = {pool.submit(answer, prompt): i for i, prompt in enumerate(prompts)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:  # a refused key would otherwise be tried for the whole batch, and an interrupt wait for it
                pool.shutdown(wait=False, cancel_futures=True)

    def check_reachable(self, prompt: Prompt = HELLO, max_tok: int = CHECK_TOK) -> str:
        """The answer to one harmless question. Errors: UserError for an address, key or model that does not work."""
        from openai import APIError

        client = self._client.with_options(max_retries=min(CHECK_RETRIES, self._client.max_retries))
        try:
            return _said(self._send(client, prompt, max_tok, 0.0), prompt)
        except APIError as error:
            raise self._user_error(error) from None

    def _send(self, client: OpenAI, prompt: Prompt, max_tok: int, temperature: float) -> object:
        from openai import APIError, APIStatusError

        settings: dict[str, Any] = {"model": self.llm, "max_tokens": max_tok, "temperature": temperature}
        try:
            if isinstance(prompt, Text):
                added = {"add_special_tokens": prompt.add_special_tokens}  # vLLM's; its default is to add
                return client.completions.create(prompt=prompt.text, extra_body=added, **settings)
            return client.chat.completions.create(messages=prompt, **settings)  # type: ignore[arg-type]
        except APIStatusError as error:
            if error.status_code in _WRONG_SETTING:
                raise self._user_error(error) from None
            raise
        except (ValueError, RecursionError):  # what calls itself JSON and is none is the client's to let through
            raise APIError(_NO_COMPLETION, request=None, body=None) from None  # type: ignore[arg-type]

    def _user_error(self, error: APIError) -> UserError:
        return UserError(f"{self.llm} at {self._client.base_url}: {explain(error)}")


def _said(reply: Any, prompt: Prompt) -> str:
    """What the first choice of a completion says; "" where it says nothing. Errors: openai.APIError for another reply.

    The client checks no reply, so any part may be absent or of another type.
    """
    from openai import APIError

    try:
        choice = reply.choices[0]
        text = choice.text if isinstance(prompt, Text) else choice.message.content
        if text is None or isinstance(text, str):
            return text or ""
    except (AttributeError, IndexError, KeyError, TypeError):
        pass
    raise APIError(_NO_COMPLETION, request=None, body=None)  # type: ignore[arg-type]


def explain(error: APIError) -> str:
    """Status and kind only: an endpoint's own message may repeat parts of the key."""
    from openai import APIConnectionError, APIError, APIStatusError

    if type(error) is APIError:  # of the client itself for streams alone
        return _NO_COMPLETION
    if isinstance(error, APIStatusError):
        return f"HTTP {error.status_code}, {_WRONG_SETTING.get(error.status_code, 'the endpoint failed')}"
    if isinstance(error, APIConnectionError):
        return f"{type(error).__name__}, nothing answers there; check base_url and the server"
    return type(error).__name__


BATCH = 8  # ours: a 13B guard in bfloat16 and 8 long prompts fit into 40 GB


class LocalModel:
    """Answers texts greedily in bfloat16, on the GPU where there is one. llm: a hub id or a folder; safetensors only.

    A prompt beyond the model's positions is not answered: cut off, its end would be judged unseen.
    """

    def __init__(self, llm: str) -> None:
        self.llm, self.usage = llm, Usage()

    def check_reachable(self, prompt: Prompt, max_tok: int) -> None:
        """Look for the model's files, weights unread: the tested model needs the memory first.

        Errors: UserError for a folder without config.json or safetensors, a gated or unknown model, no network.
        """
        from cada_trl.models.load import resolve_model

        source = "folder" if Path(self.llm).expanduser().is_dir() else "hub"
        # resolve_model reads no more of a model than where it is
        resolve_model(ModelConfig.model_construct(source=source, path=self.llm, revision=None))  # type: ignore[arg-type]

    def answers(self, prompts: Sequence[Prompt], max_tok: int) -> Iterator[tuple[int, Answer]]:
        """As a ChatEndpoint's, longest prompts first: what does not fit in memory shows at once."""
        if not prompts:
            return
        tokenizer, model = self._loaded
        from cada_trl.models.load import all_ends
        from cada_trl.models.sampling import continued, most_likely

        ids = []
        for prompt in prompts:
            assert isinstance(prompt, Text)  # a conversation's rubric asks for an endpoint
            ids.append(list(tokenizer(prompt.text, add_special_tokens=prompt.add_special_tokens).input_ids))
        ends = all_ends(tokenizer, model.generation_config.eos_token_id)
        most = getattr(model.config, "max_position_embeddings", None) or 2**31
        fitting = []
        for i in sorted(range(len(ids)), key=lambda i: -len(ids[i])):
            if len(ids[i]) + max_tok <= most:
                fitting.append(i)
            else:
                yield i, Answer(None, f"the prompt's {len(ids[i])} tokens do not fit into the judge's {most} positions")
        for start in range(0, len(fitting), BATCH):
            some = fitting[start : start + BATCH]
            for place, new in continued(model, [ids[i] for i in some], most_likely, ends, max_tok):
                self.usage.add(len(ids[some[place]]), len(new))
                yield some[place], Answer(tokenizer.decode(new, skip_special_tokens=True))

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model. Errors: UserError where they cannot be read, or the weights are not all there."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from cada_trl.models.load import check_complete

        where = str(Path(self.llm).expanduser()) if Path(self.llm).expanduser().is_dir() else self.llm
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            how = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
            loaded: Any = AutoModelForCausalLM.from_pretrained(where, dtype=torch.bfloat16, **how)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the judge {self.llm}: {first_line(error)}") from error
        model, report = loaded
        check_complete(f"the judge {self.llm}", report)
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


Model = ChatEndpoint | LocalModel
