"""The records that travel between the stages; every one is a line of JSON on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.files import replace
from cada_trl.storage.reading import MAX_LINE_BYTES, Problems, check_fields, opened, parse_object


class Verdict(StrEnum):
    """What a judge says of a final response. UNSCORED is a judge that did not answer: it never becomes a number."""

    REFUSED = "REFUSED"
    COMPLIED = "COMPLIED"
    UNSCORED = "UNSCORED"


class Status(StrEnum):
    """How a completion was split into reasoning and final response."""

    OK = "ok"
    NO_MARKER = "no_marker"
    TRUNCATED = "truncated"


@dataclass(frozen=True)
class Request:
    """One request to the model. hazard is a hazard id of the pack; harmful=False marks a harmless look-alike.

    pair: a twin's pair, which its harmful or harmless partner has too.
    """

    id: str
    text: str
    hazard: str
    harmful: bool
    source: str
    pair: str | None = None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as a whole file; half of a surrogate pair, legal in JSON but not in UTF-8, as its JSON escape.

    Errors: UserError when the folder cannot be written.
    """
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    replace(path, "".join(lines), "free space or choose another folder")


def read_jsonl(
    path: Path, torn: Callable[[str], None] | None = None, problems: Problems | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, row). Errors: UserError with file and row for a missing file or a malformed line.

    torn: gets a sentence in place of the error where a kill cut the last line off. problems: gets every malformed line
    in place of the error.
    """
    with opened(path, "expected a JSONL file") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if not line.strip():
                continue
            try:
                row = _row(path, number, line)
            except UserError as error:
                if problems is not None:
                    problems.add(f"{path}, row {number}", error)
                elif torn is not None and not line.endswith(b"\n"):
                    torn(f"{path.name} ends in a line torn by a killed run; it is left out.")
                else:
                    raise
            else:
                yield number, row


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"more than {MAX_LINE_BYTES:,} bytes")
        return parse_object(line)
    except ValueError as error:
        raise UserError(f"{path}, row {number}: not a JSON object ({error}); expected one per line") from error


def read_requests(path: Path) -> list[Request]:
    """Read requests written by `prepare`. Errors: UserError names file, row and the missing or wrong field."""
    types = {"id": str, "text": str, "hazard": str, "harmful": bool, "source": str, "pair": str | None}
    requests = []
    for number, row in read_jsonl(path):
        values = {"pair": None, **row}  # not in files of before there were twins
        check_fields(values, types, f"{path}, row {number}")
        requests.append(Request(**{field: values[field] for field in types}))
    if not requests:
        raise UserError(f"{path} holds no requests; run `python -m cada_trl.prepare` or check its filters")
    return requests
