"""What an evaluation asks and what came back: attempt, response, verdict, and the outcome that joins them.

Responses and verdicts are logged as they come: both passes go on where a call ended. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_type_hints

from cada_trl.console import shown
from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation.folder import EvaluationFolder, verdict_file
from cada_trl.judging.judge import AT_ONCE, Judge, Judged, JudgeSees, majorities, members_of, shown_pair
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.storage.digest import json_sha256, sha256
from cada_trl.storage.log import AppendLog, StoredLog
from cada_trl.storage.reading import check_fields

_LABELS = {"raw": str, "reason": str, "harmful": bool | None, "harmful_score": float | int | None}
_EDITED = "the file was edited: delete that line"
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

    @cached_property  # every comparison looks its attempts up by it
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
    """What the model wrote to the attempt with this key; analysis and final response are derived (split_reasoning)."""

    key: str
    completion: str
    completion_tok: int
    truncated: bool


@dataclass(frozen=True)
class Completion:
    """What the model wrote, without special tokens; n_tok counts the end token; truncated: stopped at max_new_tok."""

    text: str
    n_tok: int
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
    expected = {name: dict if one is Item else one for name, one in get_type_hints(kind).items()}
    check_fields(row, expected, f"{kind.__name__.lower()} row")
    values: dict[str, Any] = {
        name: from_row(Item, row[name]) if one is dict else row[name] for name, one in expected.items()
    }
    record = kind(**values)
    if isinstance(record, Attempt) and row.get("key") != record.key:
        raise UserError(
            f"attempt {record.id}: key {row.get('key')!r} is not that of its prompt ({record.key}); the row was "
            "edited or mixed up: restore the file or start in another folder"
        )
    return record


def join(
    attempts: Sequence[Attempt], responses: Mapping[str, Response], verdicts: Mapping[str, Judged]
) -> list[Outcome]:
    """One outcome per attempt, in the attempts' order. verdicts: attempt key -> what one judge said of its response.

    Errors: UserError for two attempts of one id, which no reader of the rows sees; ValueError for a harmful_score
    outside [0, 1].
    """
    if len({attempt.id for attempt in attempts}) < len(attempts):
        raise UserError("attempts name one item and attack twice; files were mixed up: take each from one evaluation")
    return [_outcome(attempt, responses.get(attempt.key), verdicts.get(attempt.key)) for attempt in attempts]


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


def read_responses(log: StoredLog, attempts: Sequence[Attempt]) -> dict[str, Response]:
    """Key -> response. Errors: UserError for a response to another attempt, or two to one: files were mixed up."""
    responses = [from_row(Response, row) for row in log.rows]
    by_key = {response.key: response for response in responses}
    check_known(log.path.name, by_key, {attempt.key for attempt in attempts})
    if len(by_key) < len(responses):
        raise UserError(f"{log.path} answers an attempt twice; it was edited or mixed up: restore it, or move it away")
    return by_key


def check_known(file: str, stored: Collection[str], planned: Collection[str]) -> None:
    """Errors: UserError for a stored key that is not planned."""
    if strange := set(stored) - set(planned):
        raise UserError(
            f"{file} has {len(strange)} row(s) of another set of attempts (as {min(strange)}): files were mixed up, "
            "or an attack's cache is gone; move the folder away, and the same command starts afresh"
        )


def respond(
    attempts: Sequence[Attempt],
    log: AppendLog,
    answers: Callable[[Sequence[Attempt]], Iterator[tuple[int, Completion]]],
) -> dict[str, Response]:
    """Every attempt's response by key: those in the log, and the others as the model gives them, logged one by one."""
    responses = read_responses(log, attempts)
    unanswered = [attempt for attempt in attempts if attempt.key not in responses]
    if unanswered:
        for index, completion in answers(unanswered):
            key = unanswered[index].key
            responses[key] = Response(key, completion.text, completion.n_tok, completion.truncated)
            log.append([to_row(responses[key])])
    return responses


def read_verdicts(log: StoredLog, judge_id: str, responses: Mapping[str, Response]) -> dict[str, Judged]:
    """Key -> verdict; of several for one response the last counts.

    Errors: UserError for another judge's verdict, one on another completion, or a row in another form: never mixed.
    """
    verdicts = {}
    for number, row in enumerate(log.rows, start=1):
        where = f"{log.path}, row {number}"
        response = responses.get(str(row.get("key")))
        if row.get("judge") != judge_id:
            raise UserError(
                f"{where}: a verdict of the judge {row.get('judge')!r}; expected {judge_id!r}: move it away"
            )
        if response is None or row.get("completion_hash") != completion_hash(response.completion):
            raise UserError(f"{where}: a verdict on another completion; files were mixed up: move this one away")
        check_fields(row, {"verdict": str, **_LABELS}, where, f"; {_EDITED}")
        if row["verdict"] not in set(Verdict):
            raise UserError(f"{where}: field 'verdict' is {row['verdict']!r}; {_EDITED}")
        verdicts[response.key] = Judged(Verdict(row["verdict"]), **{field: row[field] for field in _LABELS})
    return verdicts


def judge_by_each(
    attempts: Sequence[Attempt],
    responses: Mapping[str, Response],
    judge: Judge,
    sees: JudgeSees,
    folder: EvaluationFolder,
) -> dict[str, dict[str, Judged]]:
    """Judge id -> verdicts by key, kept in a file each; of a panel its members', then the majority's, which has none.

    Errors: as judge_responses.
    """
    by_judge = {}
    for one in members_of(judge):
        with folder.timed(one.id):
            by_judge[one.id] = judge_responses(attempts, responses, one, sees, folder.log(verdict_file(one.id)))
    return by_judge if judge.id in by_judge else by_judge | {judge.id: majorities(by_judge)}


def judge_responses(
    attempts: Sequence[Attempt], responses: Mapping[str, Response], judge: Judge, sees: JudgeSees, log: AppendLog
) -> dict[str, Judged]:
    """Every response's verdict by key: those in the log, and the others as the judge gives them.

    What a judge left UNSCORED is put to it again, unless there is nothing to judge. Errors: UserError as read_verdicts
    and Judge.judge; what was judged before stays.
    """
    verdicts = read_verdicts(log, judge.id, responses)
    pending: list[tuple[str, tuple[str, str]]] = []
    for attempt in (each for each in attempts if each.key in responses):
        pair = shown_pair(sees, attempt.item.request, attempt.prompt, responses[attempt.key].completion)
        known = verdicts.get(attempt.key)
        if known is None or (not known.scored and pair[1]):
            pending.append((attempt.key, pair))

    def judged_keys() -> Iterator[str]:
        for start in range(0, len(pending), AT_ONCE):
            batch = pending[start : start + AT_ONCE]
            judged = judge.judge([pair for _, pair in batch])
            new = {key: verdict for (key, _), verdict in zip(batch, judged, strict=True)}
            changed = {key: verdict for key, verdict in new.items() if verdicts.get(key) != verdict}
            log.append(
                {
                    "key": key,
                    "judge": judge.id,
                    "completion_hash": completion_hash(responses[key].completion),
                    **asdict(verdict),
                }
                for key, verdict in changed.items()
            )
            verdicts.update(new)
            yield from new

    for _ in shown(judged_keys(), len(pending), "verdicts"):
        pass
    return verdicts


def completion_hash(completion: str) -> str:
    """First 16 hex digits of the SHA-256: a verdict belongs to one text."""
    return sha256(completion)[:16]
