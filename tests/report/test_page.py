"""A page of several kinds of folder at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cada_trl.report.page import write_report
from cada_trl.report.records import read_record
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import answers_most, refuses_most, write_evaluation
from tests.report.made_up_run import write_run
from tests.report.made_up_utility import write_utility


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("all")
    folders = [
        write_run(root / "runs" / "made-up-s0", n_steps=2),
        write_evaluation(root / "evals" / "before-1", answers_most),
        write_utility(root / "utility" / "before-1", {"gsm8k": [True, False]}),
        write_evaluation(root / "evals" / "after-2", refuses_most),
    ]
    return write_report([read_record(folder) for folder in folders], root / "page").parent


def test_every_kind_has_its_part_in_page_markdown_and_json(written: Path) -> None:
    page, markdown = (written / "report.html").read_text(), (written / "report.md").read_text()
    check_page(page)
    for title in ("Rates", "Utility", "made-up-s0"):
        assert f">{title}</h2>" in page and f"## {title}\n" in markdown
    twin = json.loads((written / "report.json").read_text())
    assert {"evaluations", "compared_with_the_first", "utility", "runs", "across_runs"} <= twin.keys()


def test_the_learning_curves_stay(written: Path) -> None:
    assert (written / "curves.png").is_file() and (written / "safety_helpfulness.png").is_file()
    assert 'alt="Reward and baseline by step"' in (written / "report.html").read_text()


def test_nothing_half_written_is_left(written: Path) -> None:
    assert sorted(file.name for file in written.iterdir()) == [
        "curves.png",
        "report.html",
        "report.json",
        "report.md",
        "safety_helpfulness.png",
    ]
