"""A judge that is a model: a pair is asked once, answers are cached as they come, and questions are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import Answer, Prompt, Usage
from cada_trl.judging.forms import Form
from cada_trl.judging.judge import EMPTY, Judged, without_special_tokens
from cada_trl.records import Verdict
from cada_trl.storage.digest import sha256
from cada_trl.storage.log import SharedLog

SHOWN_CHARACTERS = 60


class Model(Protocol):
    """Where the questions go: an endpoint, or weights in this process."""

    llm: str
    usage: Usage

    def check_reachable(self, prompt: Prompt, max_tok: int) -> str | None:
        """Its answer, or None where it is not asked yet. Errors: UserError in one line when it cannot be used."""
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
        """Ask about a harmless pair, or look for the weights. Errors: UserError in one line, also for an answer that
        gives no label."""
        try:
            raw = self._model.check_reachable(self._form.write("Say hello.", "Hello!"), self._form.max_tok)
        except UserError as error:
            raise UserError(f"judge {self._form.name}: {error}") from error.__cause__
        if raw is not None and not (judged := self._form.read(raw)).scored:
            raise UserError(
                f"judge {self._form.name}: {self._model.llm} says {raw[:SHOWN_CHARACTERS]!r} of a harmless pair; "
                f"{judged.reason}; check llm and base_url, or take another judge"
            )
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


Key = tuple[str, str, str]  # judge id, hash of the request, hash of the final response


def _key(judge_id: str, request: str, response: str) -> Key:
    return judge_id, sha256(request)[:32], sha256(response)[:32]


class VerdictCache:
    """Remembers scored verdicts by (judge id, request, final response); texts are stored as hashes only.

    A judge's id holds the hash of its prompt: the verdicts of another version stay in the file and are not found.
    What no label was given to is never stored: it is asked for again. Errors: UserError as SharedLog.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[Key, Judged] = {}
        self._log = SharedLog(path, "verdict cache", self._remember)

    def get(self, judge_id: str, request: str, response: str) -> Judged | None:
        return self._known.get(_key(judge_id, request, response))

    def put(self, judge_id: str, request: str, response: str, judged: Judged) -> None:
        """Store a label at once, on disk too; a pair without any is left out. Safe from several threads."""
        if not judged.scored:
            return
        key = dict(zip(("judge", "request", "response"), _key(judge_id, request, response), strict=True))
        with self._log.alone() as append:
            append({**key, **asdict(judged)})

    def _remember(self, row: dict[str, Any]) -> None:
        labels = row.get("harmful"), row.get("harmful_score")
        judged = Judged(Verdict(row["verdict"]), row["raw"], row["reason"], *labels)
        self._known[row["judge"], row["request"], row["response"]] = judged
