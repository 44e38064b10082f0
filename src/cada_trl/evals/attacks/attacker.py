"""The attacker: a chat model that writes attack prompts, with a cache of what it wrote and a budget of questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from openai import APIError

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import ChatModel
from cada_trl.evals.attacks.attacker_cache import AttackerCache
from cada_trl.judging.endpoint import N_THREADS, Answer, explain
from cada_trl.prompting.arms import Messages
from cada_trl.storage.digest import sha256


class Attacker:
    """One attacker serves all generated attacks of an evaluation, so that max_calls bounds them together.

    id names the model: another one's prompts are another attack. A retry of the client is not a new question.
    """

    def __init__(self, model: ChatModel, attacker_id: str, cache: AttackerCache, max_calls: int) -> None:
        self.id, self.cache = attacker_id, cache
        self.n_calls = 0
        self._model, self._max_calls = model, max_calls
        self._checked = False

    def version(self, name: str, decides: Sequence[object]) -> str:
        """<name>-<hash8> of this attacker and all else that decides what an attack writes: the key of its rows."""
        return f"{name}-{sha256(json.dumps([self.id, *decides]))[:8]}"

    def prepare(self, n_most: int, what: str) -> None:
        """Check, before anything is generated, that n_most further questions can be asked and the attacker answers.

        n_most 0 asks nothing: an attack that is cached whole needs no attacker. Errors: UserError when max_calls does
        not suffice, or the attacker cannot be reached.
        """
        if not n_most:
            return
        left = self._max_calls - self.n_calls
        if n_most > left:
            raise UserError(
                f"{what} may ask the attacker {n_most} times and {left} of attacker_max_calls={self._max_calls} are "
                "left; raise it, or lower limit (what was answered stays cached)"
            )
        if not self._checked:
            self._model.check_reachable()
            self._checked = True

    def ask(self, conversations: Sequence[Messages], max_tok: int, temperature: float) -> Iterator[tuple[int, Answer]]:
        """Yield (index of conversation, answer) as they come. Errors: UserError for a refused key or unknown model."""
        self.n_calls += len(conversations)
        with ThreadPoolExecutor(N_THREADS) as pool:
            futures = {
                pool.submit(self._answer, messages, max_tok, temperature): i for i, messages in enumerate(conversations)
            }
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:  # an interrupt or a refused key would otherwise wait for every question that is left
                pool.shutdown(cancel_futures=True)

    def _answer(self, messages: Messages, max_tok: int, temperature: float) -> Answer:
        try:
            return Answer(self._model.complete(messages, max_tok, temperature))
        except APIError as error:
            return Answer(None, f"no answer from the attacker: {explain(error)}")
