from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cada_trl.evaluation.items import Attempt
from cada_trl.report.eval_record import EvalRecord, read_evaluation
from cada_trl.report.page import write_report
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import answers_most, write_evaluation


@pytest.fixture(scope="module")
def written(before: EvalRecord, after: EvalRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([before, after], tmp_path_factory.mktemp("page")).parent


@pytest.fixture
def page(written: Path) -> str:
    return (written / "report.html").read_text()


def test_the_page_is_well_nested_and_asks_for_nothing_from_outside(page: str) -> None:
    checked = check_page(page)
    assert len(checked.values("src")) == 2  # a panel for no attack, one for PAIR
    assert all(checked.values("alt"))


def test_every_part_is_there_and_can_be_reached_from_the_top(page: str) -> None:
    links = re.findall(r'<li><a href="#([^"]+)">', page)
    assert links == ["evaluated", "rates", "pairs", "tradeoff", "paper", "hazards", "judge", "responses", "not-run"]


@pytest.mark.parametrize(
    "text",
    [
        "the request alone",
        "responses 1:15",
        "75.0 %",
        "55.1 to 88.0; 18/24",
        ">transfer<",
        "-56.5 points",
        "15 / 2",
        "less helpful",
        "The paper (arXiv 2601.08000) has no number for these models and methods.",
        "JailbreakBench, benign",
        "xstest pooled, partial refused",
        '<details class="fold"><summary>3 slices with n &lt; 10: folded</summary>',
    ],
)
def test_the_page_says(page: str, text: str) -> None:
    assert text in page


def test_harmful_requests_are_folded_and_harmless_ones_are_not(page: str) -> None:
    unfolded = re.sub(r"<details.*</details>", "", page, flags=re.DOTALL)  # from the first fold to the last
    parts = re.split(r"(<details|</details>)", page)
    depth, outside = 0, ""
    for part in parts:
        depth += (part == "<details") - (part == "</details>")
        outside += part if depth == 0 else ""
    assert "Made-up harmful request" in page and "Made-up harmful request" not in outside
    assert "Made-up harmless request" in outside
    assert "In a story, Made-up" not in outside + unfolded


def test_what_a_model_and_a_benchmark_wrote_is_escaped(tmp_path: Path) -> None:
    def attack(attempt: Attempt) -> str:
        return "<img src=x onerror=alert(1)></details><script>alert(2)</script>"

    path = write_evaluation(tmp_path / "<b>name", attack, model={"name": "<i>model</i>"})
    text = write_report([read_evaluation(path)], tmp_path / "out").read_text()
    check_page(text)
    assert "<img src=x" not in text and "<script>" not in text and "<i>model" not in text and "<b>name" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<b>name" not in (tmp_path / "out" / "report.md").read_text()


def test_the_twins_hold_the_same_numbers(written: Path, page: str, before: EvalRecord) -> None:
    twin = json.loads((written / "report.json").read_text())
    total = twin["evaluations"][0]["scores"]["cells"][0]["total"]["complied"]
    counts = f"{100 * total['low']:.1f} to {100 * total['high']:.1f}; {total['successes']}/{total['n']}"
    change = twin["compared_with_the_first"][0]["comparison"]["cells"][0]["complied"]
    difference = f"{100 * change['difference']:+.1f} points"
    markdown = (written / "report.md").read_text()
    for text in (counts, difference, before.name):
        assert text in page and text in markdown
    assert (written / "safety_helpfulness.png").stat().st_size > 10_000
    assert "![Safety against helpfulness](safety_helpfulness.png)" in markdown


def test_the_twins_hold_no_request_and_no_response(written: Path) -> None:
    for name in ("report.md", "report.json"):
        assert "Made-up" not in (written / name).read_text()


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


def test_a_key_in_the_configuration_is_not_shown(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path / "a", answers_most)
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("base_url: null", "base_url: https://me:pass1234@host/v1"))
    write_report([read_evaluation(path)], tmp_path / "out")
    assert all("pass1234" not in file.read_text() for file in (tmp_path / "out").glob("report.*"))


def test_without_xstest_the_page_says_why_there_is_no_figure(tmp_path: Path) -> None:
    record = read_evaluation(write_evaluation(tmp_path / "a", answers_most, benchmarks=["strongreject"]))
    assert "Not drawn: it needs the safe part of XSTest" in write_report([record], tmp_path / "out").read_text()
    assert not (tmp_path / "out" / "safety_helpfulness.png").exists()
