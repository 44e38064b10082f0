from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import matplotlib.image
from matplotlib.figure import Figure

from cada_trl.report.curves import REWARD, VERDICTS, curves_png, draw_curves, draw_probes
from cada_trl.report.run_record import RunRecord


def test_the_figure_is_sharp_at_900_px_width(run: RunRecord) -> None:
    assert matplotlib.image.imread(io.BytesIO(curves_png([run]))).shape[1] == 1800


def test_the_reward_panel_draws_the_recorded_numbers(run: RunRecord) -> None:
    axes = Figure().add_subplot()
    draw_curves(axes, [run], REWARD)
    line = next(line for line in axes.lines if line.get_label() == "mean reward")
    assert list(line.get_ydata()) == [row["train/reward_mean"] for row in run.steps]
    assert list(line.get_xdata()) == list(range(1, 41))


def test_a_step_without_a_value_is_a_gap_and_not_a_zero(run: RunRecord) -> None:
    steps = [{**row, "train/reward_mean": None} if row["step"] == 2 else row for row in run.steps]
    axes = Figure().add_subplot()
    draw_curves(axes, [dataclasses.replace(run, steps=steps)], REWARD)
    line = next(line for line in axes.lines if line.get_label() == "mean reward")
    assert 2 not in list(line.get_xdata())


def test_several_seeds_are_overlaid_in_one_colour_and_told_apart_by_dashes(make_run: Callable[..., RunRecord]) -> None:
    axes = Figure().add_subplot()
    draw_curves(axes, [make_run(0), make_run(1)], VERDICTS)
    assert len(axes.lines) == 8
    assert axes.lines[0].get_color() == axes.lines[1].get_color()
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()][-2:] == ["seed 0", "seed 1"]


def test_the_probe_panel_has_a_point_with_an_interval_for_each_stage(run: RunRecord) -> None:
    axes = Figure().add_subplot()
    draw_probes(axes, [run])
    assert len(axes.containers) == 16
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]


def test_a_run_without_a_step_says_no_data(run: RunRecord) -> None:
    axes = Figure().add_subplot()
    draw_curves(axes, [dataclasses.replace(run, steps=[])], REWARD)
    assert [text.get_text() for text in axes.texts] == ["no data"]
