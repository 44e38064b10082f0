"""Rows that name their hazard: the user's own JSONL."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from cada_trl.config import DataConfig
from cada_trl.data.rows import Row, Source
from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import file_sha256


def read_own_rows(data: DataConfig, hazards: Collection[str]) -> Source:
    """The user's rows {"text", "hazard", "harmful"}.

    Errors: UserError with file and row for a missing file, a wrong field or a hazard that the pack lacks.
    """
    if data.file is None:
        raise UserError('data=jsonl needs file=<JSONL with {"text", "hazard", "harmful"} a line>')
    source = _read(Path(data.file), f"jsonl:{Path(data.file).stem}")
    for row in source.rows:
        if row.hazard not in hazards:
            close = difflib.get_close_matches(str(row.hazard), hazards, n=1) or sorted(hazards)
            raise UserError(
                f"{row.where}: hazard {row.hazard!r} is not in the pack; expected one of: {', '.join(close)}"
            )
    return Source(source.rows, {}, {**source.origin, "dataset": "jsonl", "licence": data.licence})


def _read(path: Path, name: str) -> Source:
    kept = []
    for number, values in read_jsonl(path):
        where = f"{path}, row {number}"
        for field, expected in {"text": str, "hazard": str, "harmful": bool}.items():
            if not isinstance(values.get(field), expected):
                raise UserError(f"{where}: field '{field}' is {values.get(field)!r}; expected {expected.__name__}")
        own_id = values.get("id")
        if own_id is not None and not isinstance(own_id, str):
            raise UserError(f"{where}: field 'id' is {own_id!r}; expected a string or none")
        kept.append(Row(values["text"].strip(), where, name, values["harmful"], values["hazard"], id=own_id))
    digest = file_sha256(path)
    return Source(kept, {}, {"file": path.name, "sha256": digest})
