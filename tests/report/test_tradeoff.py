from __future__ import annotations

import io
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from cada_trl.report.eval_record import EvalRecord, read_evaluation
from cada_trl.report.tradeoff import attacks_shown, draw, tradeoff_png
from tests.report.made_up_evaluation import answers_most, write_evaluation


def test_a_point_is_asr_over_nrr_with_both_intervals(before: EvalRecord) -> None:
    axes = Figure().add_subplot()
    draw(axes, [before], "pair")
    (container,) = axes.containers
    line, caps, _ = container.lines  # type: ignore[attr-defined]
    cell, safe = before.cell("strongreject", "pair"), before.cell("xstest_safe", "none")
    assert cell is not None and safe is not None
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (safe.headline.value, cell.headline.value)
    assert caps[0].get_xdata()[0] == pytest.approx(safe.headline.low)


def test_every_attack_has_a_panel_and_every_evaluation_a_colour(before: EvalRecord, after: EvalRecord) -> None:
    assert attacks_shown([before, after]) == ["none", "pair"]
    axes = Figure().add_subplot()
    draw(axes, [before, after], "none")
    assert len({container.lines[0].get_color() for container in axes.containers}) == 2  # type: ignore[attr-defined]
    assert matplotlib.image.imread(io.BytesIO(tradeoff_png([before, after]))).shape[1] == 1800


def test_without_xstest_there_is_nothing_to_draw(tmp_path: Path) -> None:
    record = read_evaluation(write_evaluation(tmp_path / "a", answers_most, benchmarks=["strongreject"]))
    assert attacks_shown([record]) == []
