"""The third pass: a judge's verdicts on responses, in a file of their own for each judge. It resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.eval_folder import slug
from cada_trl.evals.generation.progress import shown
from cada_trl.evals.items import Attempt, Response
from cada_trl.judging.judge import Judge, Judged, JudgeSees, shown_pair
from cada_trl.records import Verdict
from cada_trl.storage.digest import sha256
from cada_trl.storage.log import AppendLog, StoredLog

AT_ONCE = 32  # ours: pairs between two writes; keeps an endpoint's threads busy and loses little to a kill

_TYPES: dict[str, Any] = {
    "raw": str,
    "reason": str,
    "harmful": (bool, type(None)),
    "harmful_score": (float, int, type(None)),
}


def verdict_file(judge_id: str) -> str:
    """The name of a judge's file; the id holds model, wording and version, so another of these is another file."""
    return f"verdicts-{slug(judge_id)}.jsonl"


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
        verdicts[response.key] = _judged(row, where)
    return verdicts


def judge_responses(
    attempts: Sequence[Attempt], responses: Mapping[str, Response], judge: Judge, sees: JudgeSees, log: AppendLog
) -> dict[str, Judged]:
    """Every response's verdict by key: those in the log, and the others as the judge gives them.

    What a judge left UNSCORED is put to it again, unless there is nothing to judge. Errors: UserError as read_verdicts
    and Judge.judge; what was judged before stays.
    """
    verdicts = read_verdicts(log, judge.id, responses)
    open_pairs: list[tuple[str, tuple[str, str]]] = []
    for attempt in (one for one in attempts if one.key in responses):
        pair = shown_pair(sees, attempt.item.request, attempt.prompt, responses[attempt.key].completion)
        known = verdicts.get(attempt.key)
        if known is None or (not known.scored and pair[1]):
            open_pairs.append((attempt.key, pair))
    for _ in shown(_in_batches(open_pairs, judge, responses, verdicts, log), len(open_pairs), "verdicts"):
        pass
    return verdicts


def _in_batches(
    open_pairs: Sequence[tuple[str, tuple[str, str]]],
    judge: Judge,
    responses: Mapping[str, Response],
    verdicts: dict[str, Judged],
    log: AppendLog,
) -> Iterator[str]:
    """Judge, log and remember; yields each key when its verdict is on the disk."""
    for start in range(0, len(open_pairs), AT_ONCE):
        batch = open_pairs[start : start + AT_ONCE]
        judged = judge.judge([pair for _, pair in batch])
        new = {key: one for (key, _), one in zip(batch, judged, strict=True)}
        log.append(_row(key, one, judge.id, responses[key]) for key, one in new.items() if verdicts.get(key) != one)
        verdicts |= new
        yield from new


def _row(key: str, judged: Judged, judge_id: str, response: Response) -> dict[str, Any]:
    return {
        "key": key,
        "judge": judge_id,
        "completion_hash": _hash(response.completion),
        "verdict": judged.verdict.value,
        "harmful": judged.harmful,
        "harmful_score": judged.harmful_score,
        "raw": judged.raw,
        "reason": judged.reason,
    }


def _judged(row: Mapping[str, Any], where: str) -> Judged:
    wrong = [field for field, kinds in _TYPES.items() if field not in row or not isinstance(row[field], kinds)]
    if wrong or row.get("verdict") not in set(Verdict):
        field = wrong[0] if wrong else "verdict"
        raise UserError(f"{where}: field '{field}' is {row.get(field)!r}; the file was edited: delete that line")
    return Judged(Verdict(row["verdict"]), **{field: row[field] for field in _TYPES})


def _hash(completion: str) -> str:
    """First 16 hex digits of the SHA-256: a verdict belongs to one text."""
    return sha256(completion)[:16]
