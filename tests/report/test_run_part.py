from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cada_trl.report.page import write_report
from cada_trl.report.run_record import RunRecord


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
