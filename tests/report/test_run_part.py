from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.report.page import write_report
from cada_trl.report.run_record import ProbeRow, RunRecord
from tests.report.html_check import check_page


@pytest.fixture(scope="module")
def written(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([run], tmp_path_factory.mktemp("page")).parent


@pytest.fixture
def page(written: Path) -> str:
    return (written / "report.html").read_text()


def test_the_page_is_well_nested_and_asks_for_nothing_from_outside(page: str) -> None:
    pictures = [one for one in check_page(page).values("alt") if ": " not in one]  # the dashboard's name their section
    assert len(pictures) == 5


def test_the_page_says_what_was_run_and_how_far_to_believe_it(page: str) -> None:
    for text in ("smollm2", "phrases-12345678 paid the reward", "20:34", "One seed only", "XSTest, safe part"):
        assert text in page


def test_harmful_requests_are_folded_and_harmless_ones_are_not(page: str) -> None:
    unfolded = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
    assert "Made-up harmful request" in page
    assert "Made-up harmful request" not in unfolded
    assert "Made-up harmless request" in unfolded


def test_what_a_model_wrote_is_escaped(
    run: RunRecord, make_probe_row: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    row = make_probe_row("harmless", 1, "COMPLIED", False, final_response="<img src=x onerror=alert(1)>", hazard="<b>")
    attacked = dataclasses.replace(run, before=[ProbeRow.model_validate(row)], after=[])
    text = write_report([attacked], tmp_path).read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_the_twins_hold_the_same_numbers(written: Path, page: str) -> None:
    summary = json.loads((written / "report.json").read_text())["runs"][0]
    rate = summary["probes"]["harmful"]["after"]["answered_frac"]
    counts = f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}; {rate['successes']}/{rate['n']}"
    assert counts in page
    assert counts in (written / "report.md").read_text()


def test_the_markdown_twin_holds_no_completion(written: Path) -> None:
    assert "Made-up" not in (written / "report.md").read_text()


def test_the_funnel_of_the_data_is_shown(page: str) -> None:
    assert "dropped: near duplicate" in page
    assert "Split: train 500, probe 120." in page


def test_several_seeds_get_a_table_with_mean_and_deviation(make_run: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = write_report([make_run(0), make_run(1)], tmp_path / "out").read_text()
    assert "seed 0" in page and "seed 1" in page and ">sd<" in page
    assert "One seed only" not in page
    assert "## Over seeds" in (tmp_path / "out" / "report.md").read_text()


def test_a_run_that_was_killed_before_any_probe_still_gets_a_page(run: RunRecord, tmp_path: Path) -> None:
    bare = RunRecord(run.path, {}, {}, [], [], [], ["The run did not finish: its state is unknown, its last step 0."])
    text = write_report([bare], tmp_path).read_text()
    assert "The run did not finish" in text
    assert "No probe was run" in text


def test_a_password_in_the_configuration_is_not_shown(run: RunRecord, tmp_path: Path) -> None:
    config = {**run.config, "judge": {"base_url": "https://me:pass1234@host/v1"}}
    assert "pass1234" not in write_report([dataclasses.replace(run, config=config)], tmp_path).read_text()


def test_a_place_that_cannot_be_written_is_refused_with_its_path(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/out"):
        write_report([run], tmp_path / "file" / "out")
