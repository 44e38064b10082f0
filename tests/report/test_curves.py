from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import matplotlib.image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cada_trl.report.curves import CURVES, curves, draw_panel, draw_probes
from cada_trl.report.run_record import RunRecord, Series, series_of


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


def test_a_step_without_a_value_is_a_gap_and_not_a_zero(run: RunRecord) -> None:
    steps = [{**row, "train/reward_mean": None} if row["step"] == 2 else row for row in run.steps]
    line = drawn(0, series_of(dataclasses.replace(run, steps=steps))).lines[0]
    assert 2 not in list(line.get_xdata())


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
