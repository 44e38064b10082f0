"""An lm-eval model that keeps every answer in a file as it comes, so that a killed run goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM

from cada_trl.console import shown
from cada_trl.errors import UserError
from cada_trl.models.cpu_decoding import decoding_attention
from cada_trl.storage.digest import json_sha256
from cada_trl.storage.log import AppendLog

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

# [log-probability in nats, whether it is the greedy answer], or a text
Answer = Any


class RecordedLM(LM):
    """Answers of `lm`, one line of JSON a request in `path`; what is there is not asked again.

    Errors: UserError for an answer that is no number (damaged weights), and as AppendLog.
    """

    def __init__(self, lm: HFLM, path: Path, batch_tok: int) -> None:
        super().__init__()
        self._lm, self._batch_tok, self._log = lm, batch_tok, AppendLog(path)
        self._answers = _by_key(self._log)

    @property
    def tokenizer_name(self) -> str:
        return str(self._lm.tokenizer_name)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(self._lm.apply_chat_template(chat_history, add_generation_prompt))

    def n_cut(self, prompts: Sequence[str], reserved_tok: int) -> int:
        """Prompts that lm-eval shortens from the left, as they leave no reserved_tok in the model's context."""
        room = self._lm.max_length - reserved_tok
        return sum(len(self._lm.tok_encode(prompt)) > room for prompt in prompts)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(float(answer[0]), bool(answer[1])) for answer in self._all("loglikelihood", requests)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        with decoding_attention(self._lm.model):
            return [str(answer) for answer in self._all("generate_until", requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError("no utility task here needs a rolling log-likelihood")

    def _all(self, kind: str, requests: list[Instance]) -> list[Answer]:
        keys = [_key(kind, request.args) for request in requests]
        pending = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._answers}
        for _ in shown(self._asked(kind, pending), len(pending), "answers"):
            pass
        return [self._answers[key] for key in keys]

    def _asked(self, kind: str, pending: dict[str, Instance]) -> Iterator[str]:
        """Ask in batches and write each before the next; yields the keys."""
        for batch in self._batches(pending):
            answers = getattr(self._lm, kind)([pending[key] for key in batch], disable_tqdm=True)
            new = {key: _checked(answer) for key, answer in zip(batch, answers, strict=True)}
            self._log.append({"key": key, "answer": answer} for key, answer in new.items())
            self._answers |= new
            yield from batch

    def _batches(self, pending: dict[str, Instance]) -> Iterator[list[str]]:
        """At most batch_tok padded tokens each, the longest prompts first: lm-eval holds every token's logits at once.

        The choices after one prompt stay together: one pass answers them. A prompt beyond batch_tok goes alone.
        """
        by_prompt: dict[str, list[str]] = {}
        for key, request in pending.items():
            by_prompt.setdefault(request.args[0], []).append(key)
        n_tok = {prompt: len(self._lm.tok_encode(prompt)) for prompt in by_prompt}
        prompts = sorted(by_prompt, key=lambda prompt: -n_tok[prompt])
        while prompts:
            n = max(1, self._batch_tok // n_tok[prompts[0]])
            yield [key for prompt in prompts[:n] for key in by_prompt[prompt]]
            prompts = prompts[n:]


def _by_key(log: AppendLog) -> dict[str, Answer]:
    try:
        return {row["key"]: row["answer"] for row in log.rows}
    except KeyError as error:
        raise UserError(f"{log.path}: a row without {error}; the file was edited: delete that line") from error


def _key(kind: str, arguments: tuple[Any, ...]) -> str:
    return json_sha256([kind, *arguments])[:16]


def _checked(answer: Any) -> Answer:
    if isinstance(answer, str):
        return answer
    logp, greedy = answer
    if not math.isfinite(logp):
        raise UserError(
            f"the model gave a log-probability of {logp}; its weights are damaged or overflow in this dtype"
        )
    return [float(logp), bool(greedy)]
