"""From a plan's jobs to cells: a number with its difference, or a word; by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cada_trl.errors import UserError
from cada_trl.tables import cells as module
from cada_trl.tables.cells import TableCell, paper_number, table_cells
from cada_trl.tables.job import Job
from cada_trl.tables.layout import Column, Layout, Row, asked_model
from cada_trl.tables.numbers import Number
from cada_trl.tables.plan import Block, TablePlan
from cada_trl.tables.settings import load_table_settings
from cada_trl.tables.show import as_json, markdown, text_table

from .stub_job import stub

CADA = Row(id="cada", method="CADA", recipe="cada")
STRONGREJECT = Column(benchmark="strongreject", attacks=["none", "pair"], measures=["asr"])
ASKED = Number(value=0.25, low=0.2, high=0.35, n=300, asked=313, n_seeds=3, sd=0.01, reason=None)
KNOWN_FOR_FEW = Number(value=None, low=None, high=None, n=3, asked=313, n_seeds=1, sd=None, reason="known for 3 of 313")


def plan(*jobs: Job, lacking: dict[str, tuple[str, str]] | None = None, model: str = "llama3") -> TablePlan:
    block = Block(CADA, STRONGREJECT, jobs, lacking or {})
    settings = load_table_settings(["table=3", f"model={model}"])
    layout = Layout(title="title", rows=[CADA], columns=[STRONGREJECT])
    return TablePlan(settings, layout, asked_model(model), [block], asks_endpoint=False)


def done(tmp_path: Path, name: str) -> Job:
    job = stub(tmp_path, name)
    job.done.touch()
    return job


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Path]]:
    """Every evaluation has ASKED; what was read is remembered."""
    read: list[Sequence[Path]] = []

    def evaluated(folders: Sequence[Path], *_: Any) -> Number:
        read.append(folders)
        return ASKED

    monkeypatch.setattr(module, "evaluated", evaluated)
    return read


def test_a_finished_cell_has_the_difference_to_the_papers_number(tmp_path: Path, scored: list[Sequence[Path]]) -> None:
    none, pair = table_cells(plan(done(tmp_path, "s0"), done(tmp_path, "s1")), {})
    assert (none.state, none.ours, pair.attack) == ("done", ASKED, "pair")
    assert pair.paper is not None and (pair.paper.value, pair.paper.sd) == (20.4, 1.2)
    assert pair.difference is not None
    assert [round(end, 9) for end in (pair.difference.value, pair.difference.low, pair.difference.high)] == [
        4.6,
        -0.4,
        14.6,
    ]
    assert scored == [[tmp_path / "s0", tmp_path / "s1"]] * 2


def test_one_open_seed_leaves_the_cell_open(tmp_path: Path, scored: list[Sequence[Path]]) -> None:
    for cell in table_cells(plan(done(tmp_path, "s0"), stub(tmp_path, "s1")), {}):
        assert (cell.state, cell.reason, cell.ours, cell.difference) == ("to do", "s1", None, None)
    assert scored == []


def test_a_failure_is_no_number_and_a_failed_training_leaves_what_asks_it_not_run(tmp_path: Path) -> None:
    training = stub(tmp_path, "train-cada-s0")
    asks_it = stub(tmp_path, "evaluate-cada-s0", trained=training)
    of_training = table_cells(plan(asks_it), {training: "exit code 1"})[0]
    assert (of_training.state, of_training.reason) == ("not run", "train-cada-s0 failed")
    of_itself = table_cells(plan(asks_it), {asks_it: "exit code 1"})[0]
    assert (of_itself.state, of_itself.reason) == ("failed", "evaluate-cada-s0: exit code 1")
    assert of_training.ours is None and of_itself.ours is None


def test_what_cannot_be_had_is_said_beside_what_can(tmp_path: Path, scored: list[Sequence[Path]]) -> None:
    lacking = {"pair": ("no prompts", "nobody published them")}
    none, pair = table_cells(plan(done(tmp_path, "s0"), lacking=lacking), {})
    assert (none.state, pair.state, pair.reason, pair.ours) == ("done", "no prompts", "nobody published them", None)


def test_a_number_for_too_few_items_is_withheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "evaluated", lambda *_: KNOWN_FOR_FEW)
    cell = table_cells(plan(done(tmp_path, "s0")), {})[0]
    assert (cell.state, cell.reason, cell.ours, cell.difference) == ("withheld", "known for 3 of 313", None, None)


def test_a_damaged_folder_is_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> Number:
        raise UserError("scores.json is not a JSON object")

    monkeypatch.setattr(module, "evaluated", damaged)
    cell = table_cells(plan(done(tmp_path, "s0")), {})[0]
    assert (cell.state, cell.reason) == ("failed", "scores.json is not a JSON object")


def test_the_papers_number_is_that_of_the_very_table() -> None:
    found = paper_number(3, "llama3", "w/o SR", "strongreject", "pair", "asr")
    assert found is not None and (found.model, found.value, found.sd) == ("LLaMA-3-8B", 44.4, None)
    rounded = paper_number(1, "llama3", "w/o SR", "strongreject", "pair", "asr")
    assert rounded is not None and rounded.value == 44.41
    assert paper_number(3, "llama3_70b", "CADA", "strongreject", "pair", "asr") is None
    assert paper_number(3, "llama3", "rejection-sampled SFT (ours)", "strongreject", "pair", "asr") is None


def test_terminal_markdown_and_json_say_the_same(tmp_path: Path, scored: list[Sequence[Path]]) -> None:
    lacking = {"none": ("no access", "it is gated")}
    whole = plan(done(tmp_path, "s0"), lacking=lacking, model="smollm2")
    rows = table_cells(whole, {})
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(text_table(whole, rows))
    for text in (console.export_text(), markdown(whole, rows)):
        line = next(line for line in text.splitlines() if "StrongREJECT, PAIR" in line)
        for part in ("20.4 ± 1.2", "25.0 ± 1.0", "20.0 to 35.0", "+4.6 [-0.4, +14.6]", "300 of 313 x 3 seeds"):
            assert part in line
        assert "no access" in next(line for line in text.splitlines() if "StrongREJECT, no attack" in line)
    assert "the paper has no smollm2: LLaMA-3-8B stands beside it, another model" in markdown(whole, rows)
    values = as_json(whole, rows)
    assert [TableCell.from_json(cell) for cell in values["cells"]] == rows
    assert "no access, StrongREJECT: it is gated" in values["notes"]
