from __future__ import annotations

import io
from typing import Any

import matplotlib.image
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cada_trl.report.frontier import Frontier, Point, Share, pareto_front
from cada_trl.report.records import EvalRecord
from cada_trl.report.tradeoff import draw_attack, draw_frontier, tradeoff
from cada_trl.statistics.seeds import pooled_spread


def test_a_point_is_asr_over_nrr_with_both_intervals(before: EvalRecord) -> None:
    axes = Figure().add_subplot()
    draw_attack(axes, [before], "pair")
    (container,) = axes.containers
    line, caps, _ = container.lines  # type: ignore[attr-defined]
    cell, safe = before.scores.cell("strongreject", "pair"), before.scores.cell("xstest_safe", "none")
    assert cell is not None and safe is not None
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (safe.headline.value, cell.headline.value)
    assert caps[0].get_xdata()[0] == pytest.approx(safe.headline.low)


def test_every_attack_has_a_panel_and_every_evaluation_a_colour(before: EvalRecord, after: EvalRecord) -> None:
    axes = Figure().add_subplot()
    draw_attack(axes, [before, after], "none")
    assert len({container.lines[0].get_color() for container in axes.containers}) == 2  # type: ignore[attr-defined]
    pictures, sheet = tradeoff([before, after])
    assert [caption.partition(";")[0] for caption, _ in pictures] == [
        "ASR over NRR on XSTest under no attack",
        "ASR over NRR on XSTest under PAIR",
    ]
    assert matplotlib.image.imread(io.BytesIO(sheet)).shape[1] == 1800


def point(label: str, asr: list[float], nrr: list[float], trained: bool = True, **ends: float) -> Point:
    shares = [Share(9, 9, sum(own) / len(own), per_seed=tuple(own), **ends) for own in (asr, nrr)]
    return Point(label, None, *shares, trained)


BASE = point("base", [0.7], [0.95], trained=False)
SEEDS = point("seeds", [0.1, 0.08], [0.9, 0.86])
ONE = point("one", [0.2], [0.8])


def drawn(*points: Point) -> Axes:
    axes = Figure().add_subplot()
    spread, front = pooled_spread([]), [one.label for one in pareto_front(points)]
    draw_frontier(axes, Frontier("asr/all", "nrr/a/none", spread, spread, list(points), [], front, {}, []))
    return axes


def marks(axes: Axes) -> dict[Any, Any]:
    return {line.get_gid(): line for line in axes.get_lines() if line.get_gid()}


def test_every_seed_is_a_mark_beside_its_mean_and_one_seed_is_one_mark() -> None:
    found = marks(drawn(BASE, SEEDS))
    assert set(found) == {"point-0", "point-1", "seed-1-0", "seed-1-1"}
    assert [*found["point-1"].get_xdata(), *found["point-1"].get_ydata()] == pytest.approx([0.12, 0.91])
    assert found["point-0"].get_marker() == "*" != found["point-1"].get_marker()  # the model before training


def test_bars_reach_as_far_as_the_interval_and_stand_only_where_there_is_one() -> None:
    bars: Any = drawn(point("bars", [0.2], [0.8], low=0.7, high=0.85), BASE).containers[0]
    assert [place[0] for place in bars.lines[2][0].get_segments()[0]] == pytest.approx([0.15, 0.3])
    none: Any = drawn(ONE, BASE).containers[0]
    assert none.lines[2] == ()


def test_what_is_beaten_is_hollow() -> None:
    faces = {gid: line.get_markerfacecolor() for gid, line in marks(drawn(ONE, point("worse", [0.3], [0.7]))).items()}
    assert faces["point-1"] == "white" != faces["point-0"]


def test_near_points_come_apart_and_noise_does_not_fill_the_picture() -> None:
    axes = drawn(point("a", [0.01], [1.0]), point("b", [0.0], [0.99]))
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert 0.25 <= high - low < 0.5 and low > -0.05 and high < 1.05
