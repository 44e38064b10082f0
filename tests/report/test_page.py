"""A page of several kinds of folder at once: what holds of each part, and of the page as a whole."""

import dataclasses
import json
import re

import pytest

from cada_trl.errors import UserError
from cada_trl.report.page import write_report
from cada_trl.report.records import CellRecord, SweepRecord, read_evaluation, read_record
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import answers_most, refuses_most, write_evaluation
from tests.report.made_up_run import write_run
from tests.report.made_up_utility import write_utility


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("all")
    folders = [
        write_run(root / "runs" / "made-up-s0"),
        write_evaluation(root / "evals" / "before-1", answers_most),
        write_utility(root / "utility" / "before-1", {"gsm8k": [True, False]}),
        write_evaluation(root / "evals" / "after-2", refuses_most),
    ]
    return write_report([read_record(folder) for folder in folders], root / "page").parent


@pytest.fixture(scope="module")
def page(written):
    return (written / "report.html").read_text()


@pytest.fixture(scope="module")
def markdown(written):
    return (written / "report.md").read_text()


@pytest.fixture(scope="module")
def twin(written):
    return json.loads((written / "report.json").read_text())


@pytest.mark.slow
def test_every_kind_has_its_part_and_nothing_half_written_is_left(written, page, markdown, twin):
    for title in ("Rates", "Utility", "made-up-s0"):
        assert f">{title}</h2>" in page and f"## {title}\n" in markdown
    assert {"evaluations", "compared_with_the_first", "utility", "runs", "across_runs"} <= twin.keys()
    names = ["curves.png", "report.html", "report.json", "report.md", "safety_helpfulness.png"]
    assert sorted(file.name for file in written.iterdir()) == names


def test_the_page_is_well_nested_reachable_from_its_top_and_says_what_its_pictures_show(page):
    pictures = check_page(page).values("alt")
    assert len([one for one in pictures if ": " not in one]) == 5 + 2  # the dashboard's name their section
    assert all(pictures) and "Reward and baseline by step" in pictures
    evaluations = ["evaluated", "rates", "pairs", "tradeoff", "paper", "hazards", "judge", "responses", "not-run"]
    assert re.findall(r'<li><a href="#([^"]+)">', page) == [*evaluations, "utility", "run1", "dashboard"]


@pytest.mark.parametrize(
    "text",
    [
        "the request alone",
        "responses 1:15",
        ">transfer<",
        "less helpful",
        "after-2 against before-1",
        "Learned on",
        "The paper (arXiv 2601.08000) has no number for these models and methods.",
        "JailbreakBench, benign",
        "xstest pooled, partial refused",
        '<details class="fold"><summary>3 slices with n &lt; 10: folded</summary>',
        # of the run: what it was, how far to believe it, its data
        "smollm2",
        "phrases-12345678 paid the reward",
        "20:34",
        "One seed only",
        "XSTest, safe part",
        "dropped: near duplicate",
        "Split: train 500, probe 120.",
    ],
)
def test_the_page_says(page, text):
    assert text in page


def test_harmful_requests_are_folded_and_harmless_ones_are_not(page):
    depth, outside = 0, ""
    for part in re.split(r"(<details|</details>)", page):
        depth += (part == "<details") - (part == "</details>")
        outside += part if depth == 0 else ""
    assert "Made-up harmful request" in page and "Made-up harmful request" not in outside
    assert outside.count("Made-up harmless request") > 8  # of the run and of the evaluations
    assert "In a story, Made-up" in page and "In a story, Made-up" not in outside


def test_the_twins_hold_the_same_numbers_and_no_text_of_people_or_models(page, markdown, twin):
    total = twin["evaluations"][0]["scores"]["cells"][0]["total"]["complied"]
    probed = twin["runs"][0]["probes"]["harmful"]["after"]["answered_frac"]
    change = twin["compared_with_the_first"][0]["comparison"]["cells"][0]["complied"]
    numbers = [(100 * one["low"], 100 * one["high"], one["successes"], one["n"]) for one in (total, probed)]
    counts = ["{:.1f} to {:.1f}; {}/{}".format(*one) for one in numbers]
    for text in (*counts, f"{100 * change['difference']:+.1f} points", "before-1"):
        assert text in page and text in markdown
    assert "![Safety against helpfulness](safety_helpfulness.png)" in markdown
    assert "Made-up" not in markdown + json.dumps(twin)


@pytest.mark.slow
def test_a_secret_in_the_configuration_is_not_shown(run, tmp_path):
    record = read_evaluation(write_evaluation(tmp_path / "a", answers_most))
    secret = {"judge": {"base_url": "https://me:pass1234@host/v1"}}
    records = [dataclasses.replace(one, config={**one.config, **secret}) for one in (run, record)]
    write_report(records, tmp_path / "out")
    assert all("pass1234" not in file.read_text() for file in (tmp_path / "out").glob("report.*"))


def test_a_place_that_cannot_be_written_is_refused_with_its_path(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/out"):
        write_report([run], tmp_path / "file" / "out")


@pytest.mark.slow
def test_the_runs_of_a_sweep_are_training_runs_on_the_page(before, make_run, tmp_path):
    cell = CellRecord("a", "a", 0, dataclasses.replace(make_run(), after=[]), [])
    write_report([SweepRecord(tmp_path, {}, {}, [], [cell], []), before], tmp_path / "out")
    lacks = json.loads((tmp_path / "out" / "report.json").read_text())["not_on_this_page"]
    assert lacks and not any("No training run" in sentence for sentence in lacks)
