"""The first two passes: attempts, from the planned attacks, and the model's responses to them. Both resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from cada_trl.errors import UserError
from cada_trl.evals.eval_folder import EvalFolder
from cada_trl.evals.generation.generator import Completion
from cada_trl.evals.items import Attempt, Response, attempt_from_row, response_from_row, to_row
from cada_trl.evals.plan import Plan
from cada_trl.records import read_jsonl, write_jsonl
from cada_trl.storage.log import AppendLog, StoredLog

ATTEMPTS, MISSING, RESPONSES = "attempts.jsonl", "missing.jsonl", "responses.jsonl"


@dataclass(frozen=True)
class Missing:
    """An item for which an attack has no prompt, and why."""

    benchmark: str
    attack: str
    item: str
    reason: str


def make_attempts(plan: Plan, folder: EvalFolder) -> tuple[list[Attempt], list[Missing]]:
    """Put every planned attack to its items, and write attempts.jsonl and missing.jsonl.

    A generated attack answers from its cache what it has written already, so a second call costs nothing. Errors:
    UserError as Attack.attempts, and when the folder holds an attempt that is not among these: files were mixed up.
    """
    attempts: list[Attempt] = []
    missing: list[Missing] = []
    for one in plan.benchmarks:
        for attack in one.attacks:
            attacked = attack.attempts(one.items)
            attempts += attacked.attempts
            missing += [Missing(one.spec.name, attack.name, item, reason) for item, reason in attacked.missing.items()]
    path = folder.path / ATTEMPTS
    if path.is_file():
        stored = [attempt_from_row(row) for _, row in read_jsonl(path)]
        _check_known(path.name, {one.key for one in stored}, {one.key for one in attempts})
    write_jsonl(path, map(to_row, attempts))
    write_jsonl(folder.path / MISSING, map(asdict, missing))
    return attempts, missing


def read_responses(log: StoredLog, attempts: Sequence[Attempt]) -> dict[str, Response]:
    """Key -> response. Errors: UserError for a response to another attempt, or two to one: files were mixed up."""
    responses = [response_from_row(row) for row in log.rows]
    by_key = {response.key: response for response in responses}
    _check_known(log.path.name, set(by_key), {attempt.key for attempt in attempts})
    if len(by_key) < len(responses):
        raise UserError(f"{log.path} answers an attempt twice; it was edited or mixed up: restore it, or move it away")
    return by_key


def respond(
    attempts: Sequence[Attempt],
    log: AppendLog,
    answers: Callable[[Sequence[Attempt]], Iterator[tuple[int, Completion]]],
) -> dict[str, Response]:
    """Every attempt's response by key: those in the log, and the others as the model gives them, logged one by one."""
    responses = read_responses(log, attempts)
    open_ones = [attempt for attempt in attempts if attempt.key not in responses]
    if open_ones:
        for index, completion in answers(open_ones):
            key = open_ones[index].key
            responses[key] = Response(key, completion.text, completion.n_tok, completion.truncated)
            log.append([to_row(responses[key])])
    return responses


def _check_known(file: str, stored: set[str], planned: set[str]) -> None:
    if strange := stored - planned:
        raise UserError(
            f"{file} has {len(strange)} row(s) of another set of attempts (as {min(strange)}): files were mixed up, "
            "or an attack's cache is gone; move the folder away, and the same command starts afresh"
        )
