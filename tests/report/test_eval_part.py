from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from cada_trl.report.eval_part import draw_attack, tradeoff
from cada_trl.report.page import write_report
from cada_trl.report.records import read_evaluation
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import RefusedJudge, answers_most, write_evaluation


@pytest.mark.slow
def test_the_papers_numbers_stand_with_what_differs_and_an_unmeasured_judge_with_a_warning(scored, tmp_path):
    text = write_report([scored], tmp_path, tmp_path / "no_cards").read_text()
    check_page(text)
    section = text[text.index('<h2 id="paper">') : text.index('<h2 id="hazards">')]
    assert "For orientation only" in section and "gpt-4o-mini" in section and "strongreject-made-up-1" in section
    assert "44.4 %" in section and "44.4 %" not in text.replace(section, "")
    warning = "The agreement of the judge strongreject-made-up-1 with people was never"
    assert f'<p class="warning" role="note">{warning}' in text


def test_without_xstest_the_page_says_why_there_is_no_figure(tmp_path):
    record = read_evaluation(write_evaluation(tmp_path / "a", answers_most, benchmarks=["strongreject"]))
    assert "Not drawn: it needs the safe part of XSTest" in write_report([record], tmp_path / "out").read_text()
    assert not (tmp_path / "out" / "safety_helpfulness.png").exists()


def test_a_point_is_asr_over_nrr_with_both_intervals(before):
    axes = Figure().add_subplot()
    draw_attack(axes, [before], "pair")
    (container,) = axes.containers
    line, caps, _ = container.lines
    cell, safe = before.scores.cell("strongreject", "pair"), before.scores.cell("xstest_safe", "none")
    assert cell is not None and safe is not None
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (safe.headline.value, cell.headline.value)
    assert caps[0].get_xdata()[0] == pytest.approx(safe.headline.low)


def test_no_line_leads_from_one_judge_to_another(before, after, tmp_path):
    other = read_evaluation(write_evaluation(tmp_path / "other", answers_most, RefusedJudge()))
    for record, leads in ((after, True), (other, False)):
        assert a_line_leads(before, record) is leads


def a_line_leads(first, second):
    axes = Figure().add_subplot()
    draw_attack(axes, [first, second], "none")
    ends = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 2]
    return any((start != end).any() for start, end in ends)


@pytest.mark.parametrize("benchmark", ["strongreject", "xstest_safe"])
def test_no_line_leads_to_other_requests_under_a_benchmarks_name(before, after, benchmark):
    def asked(record, items_hash):
        decides = {"asked": [{"benchmark": benchmark, "items_hash": items_hash}]}
        return replace(record, manifest=record.manifest | {"decides": decides})

    assert a_line_leads(asked(before, "1"), asked(after, "1"))
    assert not a_line_leads(asked(before, "1"), asked(after, "2"))


@pytest.mark.slow
def test_every_attack_has_a_panel_and_every_evaluation_a_colour(before, after):
    axes = Figure().add_subplot()
    draw_attack(axes, [before, after], "none")
    assert len({container.lines[0].get_color() for container in axes.containers}) == 2
    axes = Figure().add_subplot()
    draw_attack(axes, [before, after] * 5, "none")
    lines = [container.lines[0] for container in axes.containers]
    looks = {(line.get_color(), line.get_markerfacecolor(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == 10  # colours begin again, with filled marks
    pictures, _ = tradeoff([before, after])
    assert [caption.partition(";")[0] for caption, _ in pictures] == [
        "ASR over NRR on XSTest under no attack",
        "ASR over NRR on XSTest under PAIR",
    ]
