"""What an evaluation asks and what came back: attempt, response, and the outcome that joins them. Pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.judging.judge import Judged
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.storage.digest import json_sha256

RateName = Literal["refused", "complied", "harmful", "reasoning", "truncated"]
Record = TypeVar("Record", bound="Item | Attempt | Missing | Response")


@dataclass(frozen=True)
class Attempt:
    """One item as it is sent to the model: prompt is the request after the attack, note its provenance ("" if none)."""

    item: Item
    attack: str
    prompt: str
    note: str

    @property
    def id(self) -> str:
        """benchmark/item/attack: unique within an evaluation."""
        return f"{self.item.benchmark}/{self.item.id}/{self.attack}"

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of (id, prompt): another wording of the prompt is another attempt."""
        return json_sha256([self.id, self.prompt])[:16]


@dataclass(frozen=True)
class Missing:
    """An item for which an attack has no prompt, and why."""

    benchmark: str
    attack: str
    item: str
    reason: str


@dataclass(frozen=True)
class Response:
    """What the model wrote to the attempt with this key; truncated: sampling stopped at max_new_tok.

    Analysis, final response and status are not stored: prompting.reasoning.split_reasoning derives them.
    """

    key: str
    completion: str
    completion_tok: int
    truncated: bool


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to.

    None: no response, no verdict, UNSCORED, or a label that this judge does not give. reasoning: both headers are there
    with an analysis, as the reward pays it; truncated: sampling stopped at max_new_tok. Both need the response alone.
    """

    attempt: Attempt
    refused: bool | None
    harmful: bool | None
    harmful_score: float | None
    reasoning: bool | None
    truncated: bool | None

    @property
    def complied(self) -> bool | None:
        """Not refused: 1 - refusal of the paper's ASR and NRR."""
        return None if self.refused is None else not self.refused

    @property
    def scored(self) -> bool:
        """The judge gave a label: refusal, harm or both."""
        return self.refused is not None or self.harmful is not None

    @property
    def cell(self) -> tuple[str, str]:
        return self.attempt.item.benchmark, self.attempt.attack


def to_row(record: Item | Attempt | Response) -> dict[str, Any]:
    """The record as an object for a JSONL line. An attempt's row carries its key, to be found by eye."""
    row = asdict(record)
    return {"key": record.key, **row} if isinstance(record, Attempt) else row


def from_row(kind: type[Record], row: Mapping[str, Any]) -> Record:
    """Inverse of to_row. Errors: UserError for a missing or wrong field, and for a key that is not the prompt's."""
    values: dict[str, Any] = {}
    for name, expected in get_type_hints(kind).items():
        allowed = (dict,) if expected is Item else get_args(expected) or (expected,)
        if type(row.get(name, ...)) not in allowed:  # a bool is an int to isinstance
            names = " or ".join("null" if each is NoneType else each.__name__ for each in allowed)
            raise UserError(f"{kind.__name__.lower()} row: field '{name}' is {row.get(name)!r}; expected {names}")
        values[name] = from_row(Item, row[name]) if expected is Item else row[name]
    record = kind(**values)
    if isinstance(record, Attempt) and row.get("key") != record.key:
        raise UserError(
            f"attempt {record.id}: key {row.get('key')!r} is not that of its prompt ({record.key}); the row was "
            "edited or mixed up: restore the file or start in another folder"
        )
    return record


def join(attempts: Sequence[Attempt], responses: Iterable[Response], verdicts: Mapping[str, Judged]) -> list[Outcome]:
    """One outcome per attempt, in the attempts' order. verdicts: attempt key -> what one judge said of its response.

    Errors: UserError for files that do not belong together: two attempts of one id, a response to none of the attempts,
    two responses to one that differ, a verdict without a response; ValueError for a harmful_score outside [0, 1].
    """
    keys = {attempt.key for attempt in attempts}
    if len({attempt.id for attempt in attempts}) < len(attempts):
        raise UserError("attempts name one item and attack twice; files were mixed up: take each from one evaluation")
    by_key: dict[str, Response] = {}
    for response in responses:
        if response.key not in keys:
            raise UserError(
                f"response {response.key} answers none of the {len(keys)} attempts; files were mixed up: take attempts "
                "and responses from one evaluation"
            )
        if by_key.setdefault(response.key, response) != response:
            raise UserError(
                f"two responses to the attempt {response.key} differ; files were mixed up: keep those of one run"
            )
    if homeless := verdicts.keys() - by_key.keys():
        raise UserError(
            f"{len(homeless)} verdict(s) on responses that are not there (as {min(homeless)}); files were mixed up: "
            "take attempts, responses and verdicts from one evaluation"
        )
    return [_outcome(attempt, by_key.get(attempt.key), verdicts.get(attempt.key)) for attempt in attempts]


def _outcome(attempt: Attempt, response: Response | None, judged: Judged | None) -> Outcome:
    known = judged is not None and judged.verdict is not Verdict.UNSCORED
    score = judged.harmful_score if judged else None
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"harmful_score {score} of {attempt.id}; expected one in [0, 1]")
    return Outcome(
        attempt,
        refused=judged.verdict is Verdict.REFUSED if judged is not None and known else None,
        harmful=judged.harmful if judged else None,
        harmful_score=score,
        reasoning=split_reasoning(response.completion, response.truncated).reasoned if response else None,
        truncated=response.truncated if response else None,
    )
