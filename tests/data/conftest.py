"""Small rows written for the tests, and configurations that read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cada_trl.config import DataConfig, load_config

WriteRows = Callable[[str, list[Any]], Path]
DataOf = Callable[..., DataConfig]


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """(file name, rows) -> the JSONL's path; a row that is a string is written as it is."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def data_of() -> DataOf:
    """Overrides -> the data section, of BeaverTails unless they choose another."""
    return lambda *overrides: load_config(["data=beavertails", *overrides]).data
