"""The table of plans: the documentation holds what the command prints."""

from __future__ import annotations

import pytest

from cada_trl.config import CONF_DIR
from cada_trl.errors import UserError
from cada_trl.planning.table import hardware_files, main, memory_table


def test_the_documentation_holds_the_table_as_it_is_printed() -> None:
    assert memory_table() in (CONF_DIR.parent / "docs" / "running.md").read_text(encoding="utf-8")


def test_every_hardware_file_that_names_a_card_is_a_column() -> None:
    assert hardware_files() == ["a100x4_40gb", "a100x4", "a100x16"]


def test_a_step_that_the_processes_cannot_divide_is_said_to_be_refused() -> None:
    """16 rollouts of SmolLM2's step over 16 processes of two each."""
    row = next(line for line in memory_table().splitlines() if line.startswith("| smollm2 | full | transformers "))
    assert row.endswith("| refused |")


def test_an_argument_is_refused() -> None:
    with pytest.raises(UserError, match="takes no arguments"):
        main(["model=llama3"])
