"""The model's responses and a judge's verdicts on them, logged as they come: both passes go on where a call ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cada_trl.console import shown
from cada_trl.errors import UserError
from cada_trl.evaluation.folder import EvaluationFolder, verdict_file
from cada_trl.evaluation.items import Attempt, Response, from_row, to_row
from cada_trl.evaluation.model import Completion
from cada_trl.judging.judge import AT_ONCE, Judge, Judged, JudgeSees, majorities, members_of, shown_pair
from cada_trl.records import Verdict
from cada_trl.storage.digest import sha256
from cada_trl.storage.log import AppendLog, StoredLog

_VERDICT_TYPES: dict[str, Any] = {
    "raw": str,
    "reason": str,
    "harmful": (bool, type(None)),
    "harmful_score": (float, int, type(None)),
}


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
        if response is None or row.get("completion_hash") != _hash(response.completion):
            raise UserError(f"{where}: a verdict on another completion; files were mixed up: move this one away")
        wrong = [
            field for field, kinds in _VERDICT_TYPES.items() if field not in row or not isinstance(row[field], kinds)
        ]
        if row.get("verdict") not in set(Verdict):
            wrong.append("verdict")
        if wrong:
            seen = row.get(wrong[0])
            raise UserError(f"{where}: field '{wrong[0]}' is {seen!r}; the file was edited: delete that line")
        verdicts[response.key] = Judged(Verdict(row["verdict"]), **{field: row[field] for field in _VERDICT_TYPES})
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
                {"key": key, "judge": judge.id, "completion_hash": _hash(responses[key].completion), **asdict(verdict)}
                for key, verdict in changed.items()
            )
            verdicts.update(new)
            yield from new

    for _ in shown(judged_keys(), len(pending), "verdicts"):
        pass
    return verdicts


def _hash(completion: str) -> str:
    """First 16 hex digits of the SHA-256: a verdict belongs to one text."""
    return sha256(completion)[:16]
