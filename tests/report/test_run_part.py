import io
import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from cada_trl.document.render import html, markdown
from cada_trl.report.page import write_report
from cada_trl.report.run_part import CURVES, curves, dashboard_part, draw_panel, draw_probes, hazard_rows
from cada_trl.report.run_record import RunRecord, series_of
from cada_trl.tracking.metrics import SECTIONS
from tests.report.html_check import check_page


@pytest.mark.slow
def test_several_seeds_get_a_table_with_mean_and_deviation(make_run, tmp_path):
    page = write_report([make_run(0), make_run(1)], tmp_path / "out").read_text()
    assert "seed 0" in page and "seed 1" in page and ">sd<" in page
    assert "One seed only" not in page
    assert "## Over seeds" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_a_run_that_was_killed_before_any_probe_still_gets_a_page(run, tmp_path):
    bare = RunRecord(run.path, {}, {}, [], [], [], ["The run did not finish: its state is unknown, its last step 0."])
    text = write_report([bare], tmp_path).read_text()
    assert "The run did not finish" in text and "No probe was run" in text
    assert "<dt>Model</dt><dd>unknown, unknown</dd>" in text and "<dt>Wall time</dt><dd>unknown</dd>" in text


@pytest.mark.slow
def test_every_section_is_there_folded_and_a_panel_without_data_is_said(run):
    page = html(dashboard_part([("one", run), ("two", run)]))
    assert '<details class="fold"><summary>Every panel by section' in page
    assert all(f">{title}</h3>" in page for title in SECTIONS)
    assert "Sampler against trainer (only with vLLM rollouts)" in page
    # runs stand beside each other in the rows of a hazard
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>\s*<td[^>]*>([^<]+)</td>\s*<td[^>]*>(one|two)</td>', page)
    assert len(rows) > 2 and [row[:2] for row in rows[::2]] == [row[:2] for row in rows[1::2]]
    assert [row[2] for row in rows] == ["one", "two"] * (len(rows) // 2)


def test_hazard_rows_keep_what_was_not_scored_apart(run):
    for row in hazard_rows("one", run):
        assert str(row.cells["Complied or answered"]).endswith(f"; n {row.n})")
        assert 0 < row.n + int(str(row.cells["Unscored"])) <= len(run.after)


@pytest.mark.slow
def test_hazards_with_few_requests_are_folded_and_named_in_one_line(run):
    large, small = (
        [run.after[0].model_copy(update={"set": "harmful", "hazard": hazard, "request_id": str(i)}) for i in range(n)]
        for hazard, n in (("hate", 10), ("hate_speech", 9))
    )
    part = dashboard_part([("one", replace(run, after=[*large, *small]))])
    fold = '<details class="fold"><summary>1 slice with n &lt; 10: folded</summary>'
    before, after = html(part).split(fold)
    assert '<th scope="row">hate</th>' in before and '<th scope="row">hate speech</th>' in after
    assert "1 slice with n &lt; 10: folded (hate speech, harmful requests)" in markdown(part)
    assert "| hate |" in markdown(part) and "| hate speech |" not in markdown(part)


@pytest.mark.slow
def test_completions_can_be_filtered_without_a_script(run, tmp_path):
    page = write_report([run], tmp_path).read_text()
    check_page(page)
    assert ".completions:has(#show-REFUSED:not(:checked)) .v-REFUSED { display: none; }" in page
    assert page.count('data-label="Verdict"') == page.count('<td class="passage" data-label="Final response"') > 0
    assert 'type="checkbox" id="show-harmless"' in page and '<tr class="v-REFUSED s-harmful">' in page


def drawn(panel, *runs):
    axes = Figure().add_subplot()
    draw_panel(axes, list(CURVES.values())[panel], [(f"run {i}", run) for i, run in enumerate(runs)])
    return axes


@pytest.mark.slow
def test_the_figure_is_sharp_at_900_px_width_and_every_panel_a_picture_too(run):
    pictures, sheet = curves([run])
    assert matplotlib.image.imread(io.BytesIO(sheet)).shape[1] == 1800
    assert len(pictures) == 5


def test_the_reward_panel_draws_the_recorded_numbers(run):
    line = drawn(0, series_of(run)).lines[0]
    assert list(line.get_ydata()) == [row["train/reward_mean"] for row in run.steps]
    assert list(line.get_xdata()) == list(range(1, 41))


def test_several_runs_have_a_colour_each_and_their_metrics_dashes(make_run):
    axes = drawn(1, series_of(make_run(0)), series_of(make_run(1)))
    first, second, other_metric = axes.lines[:3]
    assert len(axes.lines) == 8
    assert first.get_color() != second.get_color() and first.get_color() == other_metric.get_color()
    assert first.get_linestyle() == second.get_linestyle() != other_metric.get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()][-3:] == ["unscored", "run 0", "run 1"]


@pytest.mark.parametrize("n_steps", [3, 40])
def test_no_two_of_nine_runs_look_alike_and_the_legend_shows_their_looks(run, n_steps):
    series = {name: values[:n_steps] for name, values in series_of(run).items()}
    axes = drawn(2, *[series] * 9)
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines]
    assert len(set(looks)) == 9
    assert looks[7:] == [(line.get_color(), line.get_marker()) for line in axes.get_legend().get_lines()][7:]


def test_a_metric_of_another_unit_has_its_axis_at_the_right(run):
    left, right = drawn(3, series_of(run)).figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("tokens", "fraction")
    assert len(left.lines) == len(right.lines) == 1


def test_the_probe_panel_has_a_point_with_an_interval_for_each_stage(run):
    axes = Figure().add_subplot()
    draw_probes(axes, [run])
    assert len(axes.containers) == 16
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]


def test_in_the_probe_panel_of_several_runs_colour_says_the_run_and_the_mark_the_stage(make_run):
    axes = Figure().add_subplot()
    draw_probes(axes, [make_run(0), make_run(1)])
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()][:2] == ["before", "after"]
    drawn = {(line.get_color(), line.get_marker()) for line in axes.lines if line.get_marker() in "so"}
    of_runs = [line.get_color() for line in legend.get_lines()[2:]]
    assert drawn == {(colour, mark) for colour in of_runs for mark in "so"} and len(drawn) == 4


def test_in_the_probe_panel_no_two_of_nine_runs_look_alike(run):
    axes = Figure().add_subplot()
    draw_probes(axes, [replace(run, path=Path(f"run-{i}")) for i in range(9)])
    drawn = {(line.get_color(), line.get_fillstyle()) for line in axes.lines if line.get_marker() == "o"}
    assert len(drawn) == 9
    assert drawn == {(line.get_color(), line.get_fillstyle()) for line in axes.get_legend().get_lines()[2:]}


def test_a_run_without_a_step_says_no_data():
    assert [text.get_text() for text in drawn(0, {}).texts] == ["no data"]


def test_the_scatter_at_the_end_has_no_point_of_a_model_that_was_not_trained(run):
    (panel,) = {one.title: one for panels in SECTIONS.values() for one in panels if one.kind == "scatter"}.values()
    before, after = ({name: [(step, 0.5)] for name in panel.metrics} for step in (0, 5))
    axes = Figure().add_subplot()
    draw_panel(axes, panel, [("untrained", before), ("trained", after)])
    assert len(axes.lines) == 1 and [text.get_text() for text in axes.get_legend().get_texts()] == ["trained"]
    (run.path / "probes.jsonl").write_text(json.dumps({"step": 0} | dict.fromkeys(panel.metrics, 0.5)) + "\n")
    page = html(dashboard_part([("untrained", replace(run, steps=[]))]))
    assert re.search(f"Nothing logged for: [^<]*{panel.title}", page)


def test_a_legend_names_no_curve_and_no_run_that_is_not_drawn():
    reward, unscored = {"train/reward_mean": [(1, 0.5)]}, {"train/unscored_frac": [(1, 0.0)]}

    def legend(panel, *runs):
        return [text.get_text() for text in drawn(panel, *runs).get_legend().get_texts()]

    assert legend(0, reward, {}, reward) == ["reward mean", "run 0", "run 2"]
    assert legend(1, unscored) == ["unscored"]
