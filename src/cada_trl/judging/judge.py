"""What a judge is: (raw request, final response) pairs in, one verdict each out; and what it sees of a completion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cada_trl.console import shown
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict

JudgeSees = Literal["final_response", "completion", "completion_and_prompt"]

# <|im_end|> and its like in ChatML, Llama 3, SmolLM2 and DeepSeek (wide bars); <s> and its like in Llama 2; turns of
# Gemma and Mistral
_SPECIAL_TOKEN = re.compile(
    r"<[|｜][\w▁]{1,40}[|｜]>|</?s>|<unk>|<pad>|<[be]os>|<(?:start|end)_of_turn>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>"
)


@dataclass(frozen=True)
class Judged:
    """One verdict. raw is what the judge itself said (a model's answer, the matched words); reason is for a reader.

    Refused and harmful are two labels. harmful None: this judge does not label harm, or could not in this case.
    harmful_score in [0, 1]; None: this judge gives no score.
    """

    verdict: Verdict
    raw: str
    reason: str
    harmful: bool | None = None
    harmful_score: float | None = None

    @property
    def scored(self) -> bool:
        """The judge labelled something: refusal, harm or both."""
        return self.verdict is not Verdict.UNSCORED or self.harmful is not None


class Judge(Protocol):
    """Says whether a final response refuses the request.

    Every judge gives UNSCORED to an empty final response (ours: it neither refuses nor answers, and the paper's reward
    needs one of the two; the reward turns it into NaN and counts it).
    """

    id: str

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        """Judge pairs of (raw request, final response), never the rendered prompt; one Judged per pair, in order."""
        ...


NO_ANSWER = "no answer from the "  # how the reason begins where nobody was there: asked again, the judge may answer
AT_ONCE = 32  # ours: pairs between two writes; keeps an endpoint's threads busy and loses little to a kill
EMPTY = Judged(Verdict.UNSCORED, raw="", reason="empty final response")


def check_reachable(judge: Judge) -> None:
    """Errors: UserError where its endpoint or weights are not there; a judge without them has nothing to check."""
    check = getattr(judge, "check_reachable", None)
    if check is not None:
        check()


def judge_all(judge: Judge, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
    """As Judge.judge, AT_ONCE pairs at a time, with a count of them on stderr."""

    def judged() -> Iterator[Judged]:
        for start in range(0, len(pairs), AT_ONCE):
            yield from judge.judge(pairs[start : start + AT_ONCE])

    return list(shown(judged(), len(pairs), "verdicts"))


def without_special_tokens(text: str) -> str:
    """The text without tokens that a chat template writes (ours: a closed pattern, whatever the tokenizer)."""
    while (clean := _SPECIAL_TOKEN.sub("", text)) != text:  # taking one out can join the halves of another
        text = clean
    return text


def shown_pair(sees: JudgeSees, request: str, prompt: str, completion: str) -> tuple[str, str]:
    """The (request, response) that a judge gets of one attempt, without special tokens.

    final_response: the original request and what follows the last header, as in the paper; the attack's prompt is never
    shown, since its story would colour the verdict. completion: the analysis too. completion_and_prompt: the analysis,
    and the prompt after the attack instead of the request.
    """
    clean = without_special_tokens(completion)
    if sees == "final_response":
        return request, split_reasoning(clean).final_response
    return (prompt if sees == "completion_and_prompt" else request), clean.strip()
