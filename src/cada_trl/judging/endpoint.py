"""One client of any OpenAI-compatible endpoint, for the judges and the attackers.

The openai client retries 429, 5xx, timeouts and lost connections with growing pauses and obeys Retry-After. The key
stays in its environment variable and is in no error, log or file. The client takes half a second to import, so it is
imported where it is used: a run that asks no endpoint does not wait for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cada_trl.config import JudgeConfig
from cada_trl.errors import UserError
from cada_trl.prompting.arms import Messages

if TYPE_CHECKING:
    from openai import APIError, OpenAI

N_THREADS = 8  # ours: enough to keep one server busy, few enough for a rate limit
CHECK_RETRIES = 2  # an address that does not answer should say so in seconds, not after the whole backoff
CHECK_TOK = 16
HELLO: Messages = [{"role": "user", "content": "Say hello."}]

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

    def add(self, prompt_tok: int | None, completion_tok: int | None) -> None:
        """Count one answer."""
        self.calls += 1
        self.prompt_tok = None if prompt_tok is None or self.prompt_tok is None else self.prompt_tok + prompt_tok
        known = completion_tok is not None and self.completion_tok is not None
        self.completion_tok = self.completion_tok + completion_tok if known else None  # type: ignore[operator]


class ChatEndpoint:
    """A model behind an address; safe from several threads. complete() is what an attacker needs, answers() a judge."""

    def __init__(self, client: OpenAI, llm: str) -> None:
        self.llm, self.usage = llm, Usage()
        self._client = client
        self._lock = threading.Lock()

    @classmethod
    def from_settings(
        cls, base_url: str, llm: str, api_key_env: str | None, timeout_s: float, max_retries: int
    ) -> ChatEndpoint:
        """Build the client; api_key_env None: the endpoint wants no key.

        Errors: UserError when the named environment variable is not set.
        """
        from openai import OpenAI

        key = os.environ.get(api_key_env, "") if api_key_env else "not-needed"
        if not key:
            raise UserError(f"environment variable {api_key_env} is not set; export the key of {llm} at {base_url}")
        return cls(OpenAI(base_url=base_url, api_key=key, timeout=timeout_s, max_retries=max_retries), llm)

    @classmethod
    def from_config(cls, config: JudgeConfig) -> ChatEndpoint:
        """That of a judge whose base_url and llm are set. Errors: UserError as from_settings."""
        assert config.base_url is not None and config.llm is not None
        settings = config.api_key_env, config.timeout_s, config.max_retries
        return cls.from_settings(config.base_url, config.llm, *settings)

    def complete(self, messages: Prompt, max_tok: int, temperature: float) -> str:
        """The answer; a reply that is no completion, as a proxy's HTML page, comes back as its text.

        Errors: openai.APIError after the retries; UserError for a refused key or an unknown model (401, 403, 404).
        """
        from openai.types import Completion, CompletionChoice
        from openai.types.chat import ChatCompletion

        reply = self._send(self._client, messages, max_tok, temperature)
        if not isinstance(reply, ChatCompletion | Completion) or not reply.choices:
            return str(reply)
        with self._lock:
            said = reply.usage
            self.usage.add(*(said.prompt_tokens, said.completion_tokens) if said else (None, None))
        choice = reply.choices[0]
        return (choice.text if isinstance(choice, CompletionChoice) else choice.message.content) or ""

    def answers(self, prompts: Sequence[Prompt], max_tok: int) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the prompt, answer) at temperature 0, as they come. Errors: UserError as complete()."""
        with ThreadPoolExecutor(N_THREADS) as pool:
            futures = {pool.submit(self._answer, prompt, max_tok): i for i, prompt in enumerate(prompts)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:  # a refused key would otherwise be tried for the whole batch
                pool.shutdown(wait=False, cancel_futures=True)

    def check_reachable(self, prompt: Prompt = HELLO) -> None:
        """Ask one harmless question. Errors: UserError in one line when the address, key or model does not work."""
        from openai import APIError

        client = self._client.with_options(max_retries=min(CHECK_RETRIES, self._client.max_retries))
        try:
            self._send(client, prompt, CHECK_TOK, 0.0)
        except APIError as error:
            raise self._user_error(error) from None

    def _answer(self, prompt: Prompt, max_tok: int) -> Answer:
        from openai import APIError

        try:
            return Answer(self.complete(prompt, max_tok, 0.0))
        except APIError as error:
            return Answer(None, f"no answer from the endpoint: {explain(error)}")

    def _send(self, client: OpenAI, prompt: Prompt, max_tok: int, temperature: float) -> object:
        from openai import APIStatusError

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

    def _user_error(self, error: APIError) -> UserError:
        return UserError(f"{self.llm} at {self._client.base_url}: {explain(error)}")


def explain(error: APIError) -> str:
    """Status and kind only: an endpoint's own message may repeat parts of the key."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return f"HTTP {error.status_code}, {_WRONG_SETTING.get(error.status_code, 'the endpoint failed')}"
    if isinstance(error, APIConnectionError):
        return f"{type(error).__name__}, nothing answers there; check base_url and the server"
    return type(error).__name__
