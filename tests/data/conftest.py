"""Small rows written for the tests, and configurations that read them."""

import json

import pytest

from cada_trl.config import load_config


@pytest.fixture
def write_rows(tmp_path):
    """(file name, rows) -> the JSONL's path; a row that is a string is written as it is."""

    def write(name, rows):
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def data_of():
    """Overrides -> the data section, of BeaverTails unless they choose another."""
    return lambda *overrides: load_config(["data=beavertails", *overrides]).data
