from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cada_trl.document.render import html, markdown
from cada_trl.errors import UserError
from cada_trl.report.dashboard import CURVES, curves, dashboard_part, draw_panel, draw_probes, hazard_rows
from cada_trl.report.page import write_report
from cada_trl.report.run_record import RunRecord, Series, series_of
from cada_trl.tracking.metrics import SECTIONS
from tests.report.html_check import check_page


def with_probes(run: RunRecord, *lines: str) -> RunRecord:
    (run.path / "probes.jsonl").write_text("".join(lines))
    return run


def line(step: int, value: float | None) -> str:
    return json.dumps({"step": step, "name": "before", "probe/harmful/answered_frac": value}) + "\n"


def test_an_absent_value_is_no_point_and_never_0(make_run: Callable[..., RunRecord]) -> None:
    run = with_probes(make_run(), line(0, 0.5), line(3, None), line(6, 0.25))
    assert series_of(run)["probe/harmful/answered_frac"] == [(0, 0.5), (6, 0.25)]
    assert [step for step, _ in series_of(run)["train/reward_mean"]] == [1, 2, 3]


def test_a_run_without_probes_has_its_steps(make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
    (run.path / "probes.jsonl").unlink()
    assert series_of(run).keys() == {name for row in run.steps for name in row if "/" in name}


def test_a_torn_last_line_is_left_out_and_a_damaged_one_is_named(make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
    assert series_of(with_probes(run, line(0, 0.5), '{"step": 3, "na'))["probe/harmful/answered_frac"] == [(0, 0.5)]
    with pytest.raises(UserError, match=r"probes\.jsonl, row 1"):
        series_of(with_probes(run, '{"step"\n', line(0, 0.5)))


def test_every_section_is_there_folded_and_a_panel_without_data_is_said(make_run: Callable[..., RunRecord]) -> None:
    page = html(dashboard_part([("one", make_run())]))
    assert '<details class="fold"><summary>Every panel by section' in page
    for section in SECTIONS:
        assert f">{section.title}</h3>" in page
    assert "Sampler against trainer (only with vLLM rollouts)" in page


def test_hazard_rows_keep_what_was_not_scored_apart(make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
    for row in hazard_rows("one", run):
        assert str(row.cells["Complied or answered"]).endswith(f"; n {row.n})")
        asked = sum(1 for one in run.after if one.set in {"harmful", "held_out", "harmless", "xstest_safe"})
        assert 0 < row.n + int(str(row.cells["Unscored"])) <= asked


def test_runs_stand_beside_each_other_in_the_rows_of_a_hazard(make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
    page = html(dashboard_part([("one", run), ("two", run)]))
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>\s*<td[^>]*>([^<]+)</td>\s*<td[^>]*>(one|two)</td>', page)
    named = [list(row) for row in rows]
    assert len(named) > 2
    for first, second in zip(named[::2], named[1::2], strict=True):
        assert first[:2] == second[:2] and (first[2], second[2]) == ("one", "two")


def test_hazards_with_few_requests_are_folded_and_named_in_one_line(make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
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


def test_completions_can_be_filtered_without_a_script(make_run: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = write_report([make_run()], tmp_path / "page").read_text()
    check_page(page)
    assert ".completions:has(#show-REFUSED:not(:checked)) .v-REFUSED { display: none; }" in page
    assert 'type="checkbox" id="show-harmless"' in page and '<tr class="v-REFUSED s-harmful">' in page


def drawn(panel: int, *runs: Series) -> Axes:
    axes = Figure().add_subplot()
    draw_panel(axes, list(CURVES.values())[panel], [(f"run {i}", run) for i, run in enumerate(runs)])
    return axes


def test_the_figure_is_sharp_at_900_px_width_and_every_panel_a_picture_too(run: RunRecord) -> None:
    pictures, sheet = curves([run])
    assert matplotlib.image.imread(io.BytesIO(sheet)).shape[1] == 1800
    assert len(pictures) == 5


def test_the_reward_panel_draws_the_recorded_numbers(run: RunRecord) -> None:
    line = drawn(0, series_of(run)).lines[0]
    assert list(line.get_ydata()) == [row["train/reward_mean"] for row in run.steps]
    assert list(line.get_xdata()) == list(range(1, 41))


def test_several_runs_have_a_colour_each_and_their_metrics_dashes(make_run: Callable[..., RunRecord]) -> None:
    axes = drawn(1, series_of(make_run(0)), series_of(make_run(1)))
    first, second, other_metric = axes.lines[:3]
    assert len(axes.lines) == 8
    assert first.get_color() != second.get_color() and first.get_color() == other_metric.get_color()
    assert first.get_linestyle() == second.get_linestyle() != other_metric.get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()][-3:] == ["unscored", "run 0", "run 1"]


def test_a_metric_of_another_unit_has_its_axis_at_the_right(run: RunRecord) -> None:
    left, right = drawn(3, series_of(run)).figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("tokens", "fraction")
    assert len(left.lines) == len(right.lines) == 1


def test_the_probe_panel_has_a_point_with_an_interval_for_each_stage(run: RunRecord) -> None:
    axes = Figure().add_subplot()
    draw_probes(axes, [run])
    assert len(axes.containers) == 16
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]


def test_a_run_without_a_step_says_no_data() -> None:
    assert [text.get_text() for text in drawn(0, {}).texts] == ["no data"]
