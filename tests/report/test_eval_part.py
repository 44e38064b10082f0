from __future__ import annotations

from pathlib import Path

from cada_trl.report.page import write_report
from cada_trl.report.records import EvalRecord, read_evaluation
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import answers_most, write_evaluation


def test_the_papers_numbers_never_stand_without_what_differs(scored: EvalRecord, tmp_path: Path) -> None:
    text = write_report([scored], tmp_path).read_text()
    check_page(text)
    section = text[text.index('<h2 id="paper">') : text.index('<h2 id="hazards">')]
    assert "For orientation only" in section and "gpt-4o-mini" in section and "strongreject-made-up-1" in section
    assert "44.4 %" in section and "44.4 %" not in text.replace(section, "")


def test_a_judge_that_nobody_measured_is_a_warning(scored: EvalRecord, tmp_path: Path) -> None:
    text = write_report([scored], tmp_path / "out", tmp_path / "no_cards").read_text()
    assert (
        '<p class="warning" role="note">The agreement of the judge strongreject-made-up-1 with people was never' in text
    )


def test_without_xstest_the_page_says_why_there_is_no_figure(tmp_path: Path) -> None:
    record = read_evaluation(write_evaluation(tmp_path / "a", answers_most, benchmarks=["strongreject"]))
    assert "Not drawn: it needs the safe part of XSTest" in write_report([record], tmp_path / "out").read_text()
    assert not (tmp_path / "out" / "safety_helpfulness.png").exists()
