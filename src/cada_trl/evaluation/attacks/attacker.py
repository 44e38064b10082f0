"""The attacker: a chat model that writes attack prompts, with a cache of what it wrote and a budget of questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import Answer, ChatEndpoint
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.prompting.arms import Messages
from cada_trl.records import Verdict
from cada_trl.storage.digest import content_hash, sha256
from cada_trl.storage.log import SharedLog

DECLINED = "DECLINED"  # the word by which the instructions let an attacker refuse
REFUSED = "the attacker refused"
Row = dict[str, Any]
Key = tuple[str, str, str]  # the attack's version, hash of the request, part


class Attacker:
    """One attacker serves all generated attacks of an evaluation, so that max_calls bounds them together.

    id names the model: another one's prompts are another attack. A retry of the client is not a new question.
    """

    def __init__(self, model: ChatEndpoint, attacker_id: str, cache: AttackerCache, max_calls: int) -> None:
        self.id, self.cache = attacker_id, cache
        self.n_calls = 0
        self._model, self._max_calls = model, max_calls
        self._checked = False

    def version(self, name: str, decides: Sequence[object]) -> str:
        """<name>-<hash8> of this attacker and all else that decides what an attack writes: the key of its rows."""
        return f"{name}-{content_hash([self.id, *decides])}"

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
        return self._model.answers(conversations, max_tok, temperature, "attacker")


def read_answer(answer: Answer, tag: str) -> tuple[str, str]:
    """(what stands in the last <tag>, "") or ("", why there is nothing to send).

    A refusal between the tags is one too, by the phrase judge. It calls about 0.2 % of the published PAIR and PAP
    prompts for StrongREJECT and AdvBench refusals (4 of 1666): so many good rewrites are lost, and counted as missing.
    """
    if answer.text is None:
        return "", answer.reason
    text = tagged(answer.text, tag)
    phrases = PhraseJudge().judge([("", text or answer.text)])[0].verdict
    if phrases is Verdict.REFUSED or DECLINED in answer.text:
        return "", REFUSED
    return text, "" if text else f"the attacker's answer holds no complete text between <{tag}> and </{tag}>"


def tagged(text: str, tag: str) -> str:
    """What stands between the last <tag> and its </tag>; "" without the pair, as in an answer that was cut off."""
    found = re.findall(rf"<{tag}>((?:(?!<{tag}>).)*?)</{tag}>", text, re.DOTALL | re.IGNORECASE)
    return found[-1].strip() if found else ""


class AttackerCache:
    """What an attacker wrote, by (version, request, part), on disk; the request is stored as its hash only.

    version names the attack, the attacker and all that was said to it; part tells the rows of one request apart (a turn
    of PAIR), a rewrite has one with part "". The first row of a key counts, whoever wrote it, so that two evaluations
    at once attack with the same prompts. Errors: UserError as SharedLog.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Key, Row] = {}
        self._log = SharedLog(path, "attacker cache", self._remember)

    def get(self, version: str, request: str, part: str = "") -> Row | None:
        return self._known.get((version, sha256(request)[:32], part))

    def put(self, version: str, request: str, row: Row, part: str = "") -> Row:
        """Store a row on disk at once; returns the row that counts, which is another's if that one came first."""
        key = version, sha256(request)[:32], part
        with self._log.alone() as append:
            if key not in self._known:
                append(dict(zip(("version", "request", "part"), key, strict=True)) | {"row": row})
        return self._known[key]

    def _remember(self, stored: Row) -> None:
        key = (stored["version"], stored["request"], stored["part"])
        self._known.setdefault(key, dict(stored["row"]))
