"""A judge that is a model: what all of them share. Each judge's own file holds its instruction and its parser.

A pair is asked once; answers are cached as they come, questions are bounded, and an answer that cannot be read is
UNSCORED with its text kept, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cada_trl.errors import UserError
from cada_trl.judging.cache import VerdictCache
from cada_trl.judging.endpoint import Answer, Prompt, Usage
from cada_trl.judging.judge import EMPTY, Judged
from cada_trl.judging.sees import without_special_tokens
from cada_trl.records import Verdict
from cada_trl.storage.digest import sha256


@dataclass(frozen=True)
class Form:
    """What a model is asked about one pair, and how its answer is read.

    text is all of the instruction: its hash is in the judge's id, so that verdicts of another wording are never taken
    for this one's. read gives UNSCORED to an answer that it cannot read.
    """

    name: str
    text: str
    max_tok: int
    write: Callable[[str, str], Prompt]
    read: Callable[[str], Judged]

    @property
    def hash8(self) -> str:
        """First 8 hex digits of the SHA-256 of what decides an answer."""
        return sha256(json.dumps([self.text, self.max_tok]))[:8]


class Model(Protocol):
    """Where the questions go: an endpoint, or weights in this process."""

    llm: str
    usage: Usage

    def check_reachable(self, prompt: Prompt) -> None:
        """Errors: UserError in one line when the model cannot be used."""
        ...

    def answers(self, prompts: Sequence[Prompt], max_tok: int) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the prompt, answer) as they come."""
        ...


class ModelJudge:
    """Asks the model once for each different pair; known verdicts come from the cache.

    max_calls bounds the questions over this judge's life (a retry is not a new question). Special tokens are taken out
    of request and response: in a guard model's template they would end the text that it judges.
    """

    def __init__(self, form: Form, model: Model, max_calls: int, cache: VerdictCache | None = None) -> None:
        self.id = f"{form.name}-{model.llm}-{form.hash8}"
        self.n_calls = 0
        self._form, self._model, self._max_calls, self._cache = form, model, max_calls, cache
        self._checked = False

    @property
    def usage(self) -> Usage:
        """Answered questions and tokens so far."""
        return self._model.usage

    def check_reachable(self) -> None:
        """Ask about a harmless pair, or look for the weights. Errors: UserError in one line."""
        try:
            self._model.check_reachable(self._form.write("Say hello.", "Hello!"))
        except UserError as error:
            raise UserError(f"judge {self._form.name}: {error}") from error.__cause__
        self._checked = True

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        """Errors: UserError when max_calls does not suffice, or the key or model is refused."""
        shown = [(without_special_tokens(request), without_special_tokens(response)) for request, response in pairs]
        known = {pair: self._known(*pair) for pair in shown}
        asked = [pair for pair, judged in known.items() if judged is None]
        if self.n_calls + len(asked) > self._max_calls:
            raise UserError(
                f"the judge was asked {self.n_calls} times and {len(asked)} more exceed max_calls={self._max_calls}; "
                "raise max_calls (known verdicts stay cached)"
            )
        if asked and not self._checked:
            self.check_reachable()
        verdicts = known | self._ask(asked)
        return [judged for pair in shown if (judged := verdicts[pair]) is not None]

    def _known(self, request: str, response: str) -> Judged | None:
        if not response.strip():
            return EMPTY
        return None if self._cache is None else self._cache.get(self.id, request, response)

    def _ask(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Judged]:
        verdicts: dict[tuple[str, str], Judged] = {}
        self.n_calls += len(pairs)
        prompts = [self._form.write(*pair) for pair in pairs]
        for i, answer in self._model.answers(prompts, self._form.max_tok):
            if answer.text is None:
                verdicts[pairs[i]] = Judged(Verdict.UNSCORED, raw="", reason=answer.reason)
                continue
            verdicts[pairs[i]] = judged = self._form.read(answer.text)
            if self._cache is not None:
                self._cache.put(self.id, *pairs[i], judged)
        return verdicts


def unread(raw: str, expected: str) -> Judged:
    """UNSCORED for an answer in another form than asked for; its text is kept."""
    return Judged(Verdict.UNSCORED, raw, f"the answer is not {expected}")
