import warnings
from itertools import combinations

import pytest
from matplotlib.figure import Figure

from cada_trl.report.drawing import COLOURS, INK, MARKERS, key, legend_below, picture, place_labels, turn


@pytest.fixture
def axes():
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    figure.draw_without_rendering()
    return axes


def boxes(axes):
    axes.figure.draw_without_rendering()
    notes = axes.texts
    return [note.get_window_extent() for note in notes]


def test_labels_of_points_on_one_place_do_not_cover_each_other(axes):
    place_labels(axes, [(f"configuration {i}", (0.5, 0.5), INK) for i in range(6)], [(0.5, 0.5)])
    assert not any(one.overlaps(other) for one, other in combinations(boxes(axes), 2))


@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_a_label_at_the_edge_stays_inside(axes, corner):
    place_labels(axes, [("a long label of a point", corner, INK)], [corner])
    (box,) = boxes(axes)
    assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1


def test_colour_and_marker_of_one_index_begin_again_together_only_after_56():
    assert len({(turn(COLOURS, i), turn(MARKERS, i)) for i in range(56)}) == 56


def test_a_label_steps_off_a_line(axes):
    place_labels(axes, [("label", (0.5, 0.5), INK)], [], [((0.0, 0.5), (1.0, 0.5))])
    (box,) = boxes(axes)
    middle = axes.transData.transform((0.5, 0.5))[1]
    assert box.y0 > middle or box.y1 < middle


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lr=1.57525e-06, beta_kl=0.00164373, seed {}", "run {} " + "of a long name " * 8])
def test_a_legend_of_twelve_long_names_lies_in_a_picture_that_grew(name):
    shown = []

    def draw(axes):
        shown.append(axes)
        legend_below(axes, [key(name.format(i)) for i in range(12)])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture([draw], kind="png")
    (axes,) = shown
    legend, whole = axes.get_legend().get_window_extent(), axes.figure.bbox
    assert legend.x0 >= 0 and legend.x1 <= whole.x1 and legend.y0 >= 0
    assert axes.bbox.height > 200 and axes.bbox.width > 300


def test_a_name_with_two_dollar_signs_is_written_as_it_is():
    def draw(axes):
        axes.set_title("a$b_$c")
        legend_below(axes, [key("a$b_$c")])
        return lambda: place_labels(axes, [("a$b_$c", (0.5, 0.5), INK)], [])

    assert picture([draw]).count(b"<!-- a$b_$c -->") == 3


def test_a_name_in_another_script_is_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture([lambda axes: legend_below(axes, [key("\u65e5\u672c")])])


def test_a_label_that_stands_nearer_to_another_mark_has_a_line_to_its_own(axes):
    own, free = (0.5, 0.5), (0.1, 0.1)
    around = [(0.5 + dx, 0.5 + dy) for dx in (-0.03, 0.0, 0.03) for dy in (-0.03, 0.0, 0.03) if dx or dy]
    place_labels(axes, [("between others", own, INK), ("alone", free, INK)], [own, free, *around])
    (line,) = axes.lines
    assert (line.get_xdata()[0], line.get_ydata()[0]) == own
