from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cada_trl.errors import UserError
from cada_trl.report.frontier_picture import (
    UNTRAINED,
    PlotPoint,
    draw_frontier,
    draw_points,
    front_of,
    with_pooled_intervals,
)

BASE = PlotPoint("base", UNTRAINED, [0.05], [0.3])
TRAINED = [PlotPoint(f"t{i}", "cada", [0.1, 0.14], [0.9, 0.92]) for i in range(4)]
ONE = PlotPoint("one", "sft", [0.2], [0.8])


def drawn(points: list[PlotPoint]) -> Axes:
    axes = Figure().add_subplot()
    draw_points(axes, points, front_of(points))
    return axes


def test_intervals_are_pooled_over_the_trained_and_borrowed_by_one_seed() -> None:
    # s^2 = 0.04^2 / 2 in each, df 4: 2.7764 * 0.02828 = 0.07853 for one seed, / sqrt(2) = 0.05553 for two
    points, (of_x, _) = with_pooled_intervals([BASE, *TRAINED, ONE])
    assert (of_x.n_configurations, of_x.df) == (4, 4)
    assert points[0].x_interval is None
    assert points[1].x_interval == pytest.approx((0.12 - 0.05553, 0.12 + 0.05553), abs=1e-5)
    assert points[5].x_interval == pytest.approx((0.2 - 0.07853, 0.2 + 0.07853), abs=1e-5)


def test_few_seeds_get_no_interval() -> None:
    points, _ = with_pooled_intervals([BASE, *TRAINED[:3], ONE])
    assert all(one.x_interval is None and one.y_interval is None for one in points)


def test_the_front_by_hand() -> None:
    worse = PlotPoint("worse", "sft", [0.2], [0.7])
    assert front_of([ONE, worse, BASE]) == ["base", "one"]


def test_every_seed_is_a_mark_beside_its_mean_and_one_seed_is_one_mark() -> None:
    marks = {line.get_gid() for line in drawn([BASE, TRAINED[0]]).get_lines() if line.get_gid()}
    assert marks == {"point-0", "point-1", "seed-1-0", "seed-1-1"}


def test_the_model_before_training_has_its_own_mark() -> None:
    markers = {line.get_gid(): line.get_marker() for line in drawn([BASE, TRAINED[0]]).get_lines()}
    assert markers["point-0"] == "*" != markers["point-1"]


def test_bars_reach_as_far_as_the_interval_and_stand_only_where_there_is_one() -> None:
    with_bars = ONE._replace(x_interval=(0.15, 0.3))
    (bars,) = drawn([with_bars, BASE]).containers[0].lines[2]
    assert [place[0] for place in bars.get_segments()[0]] == pytest.approx([0.15, 0.3])
    assert drawn([ONE, BASE]).containers[0].lines[2] == ()


def test_what_is_beaten_is_hollow() -> None:
    worse = PlotPoint("worse", "sft", [0.25], [0.7])
    faces = {line.get_gid(): line.get_markerfacecolor() for line in drawn([ONE, worse]).get_lines()}
    assert faces["point-1"] == "white" != faces["point-0"]


def test_near_points_come_apart_and_noise_does_not_fill_the_picture() -> None:
    axes = drawn([PlotPoint("a", "cada", [0.0], [0.99]), PlotPoint("b", "cada", [0.01], [1.0])])
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert 0.25 <= high - low < 0.5 and low > -0.05 and high < 1.05


def test_plain_tuples_become_a_picture_with_labels_and_how_it_was_pooled(tmp_path: Path) -> None:
    draw_frontier([tuple(one[:4]) for one in [BASE, *TRAINED]], tmp_path / "a.svg", title="made up")
    text = (tmp_path / "a.svg").read_text()
    assert {"base", "t0", "t3", "made up", UNTRAINED, "cada"} <= set(re.findall(r"<!-- (.+?) -->", text))
    assert "variance pooled over 4 configurations, 8 seeds, 4 degrees of freedom" in text


def test_a_picture_of_few_seeds_says_why_it_has_no_bars(tmp_path: Path) -> None:
    draw_frontier([BASE, TRAINED[0]], tmp_path / "a.svg")
    assert "No intervals: 1 degree" in (tmp_path / "a.svg").read_text()
    draw_frontier([BASE, ONE], tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "no point to draw"),
        ([("a", "cada", [], [])], "a: 0 values of x and 0 of y"),
        ([("a", "cada", [0.1, 0.2], [0.5])], "a: 2 values of x and 1 of y"),
        ([("a", "cada", [97.0], [0.5])], "a: 97.0 is no share; .* 0.97 for 97 %"),
        ([("a", "cada", [float("nan")], [0.5])], "a: nan is no share"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(points: list[PlotPoint], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        draw_frontier(points, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
